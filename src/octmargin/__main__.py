"""The entry point of `octmargin` and `python -m octmargin`; light, so that Ctrl-C is heard from the beginning."""

import gc
import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from octmargin.cli import run_command_line  # noqa: PLC0415 - loading it takes a second

        run_command_line()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    finally:
        # All that is needed is closed. To look through everything once more for what nobody refers to, as the
        # interpreter does at its end, takes the better part of a second, for which who stops a daemon would wait.
        gc.freeze()


if __name__ == "__main__":
    main()
