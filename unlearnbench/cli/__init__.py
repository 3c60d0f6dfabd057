"""The command line: words in, a Python function, text out."""
