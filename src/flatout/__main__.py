"""`python -m flatout`."""

from flatout.cli.app import main

main()
