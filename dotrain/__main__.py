"""`python -m dotrain` is `dotrain`."""

from dotrain.cli import main

main()
