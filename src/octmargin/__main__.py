"""`python -m octmargin`."""

from octmargin.cli import main

main()
