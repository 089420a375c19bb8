"""``python -m radfed`` is the ``radfed`` command."""

from radfed.cli.main import main

main()
