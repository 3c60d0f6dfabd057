"""The operations of the command line, each a function in a file of its name."""
