"""`python -m unlearnbench` is the command `unlearnbench`."""

from unlearnbench.cli.main import main

main(prog_name="unlearnbench")
