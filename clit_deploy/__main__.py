"""The entry point of `clit-deploy` and of `python -m clit_deploy`."""

from clit_deploy.system.interrupts import note_signals
from clit_deploy.system.standard_streams import replace_closed


def main() -> None:
    """Note signals from the first moment on, then import the command line and run it."""
    note_signals()
    replace_closed()
    from clit_deploy.cli import main as command

    command()


if __name__ == "__main__":
    main()
