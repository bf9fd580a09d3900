"""`python -m poller.cli`."""

from poller.cli import main

main()
