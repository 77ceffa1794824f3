"""The entry point of `octmargin` and `python -m octmargin`; light, so that Ctrl-C is heard from the beginning."""

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from octmargin.cli import run_command_line  # noqa: PLC0415 - loading it takes a second

        run_command_line()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
