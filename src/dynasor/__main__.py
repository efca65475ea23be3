"""`python -m dynasor` is `dynasor`."""

from dynasor.cli import main

main()
