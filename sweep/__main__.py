"""`python -m sweep`: the command line where the script splitsweep is not on the PATH."""

from sweep.cli import main

main()
