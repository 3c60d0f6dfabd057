"""The command line: parses options, calls a function, prints its result."""
