"""The command line: `octmargin COMMAND`. Errors are one line that says what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from octmargin import __version__
from octmargin.errors import EXIT_REFUSED, CaseRefusedError, OctMarginError

COMMAND_GROUP = "octmargin.commands"
TRACEBACK_VARIABLE = "OCTMARGIN_TRACEBACK"
EXIT_ERROR = 2
EXIT_INTERNAL = 70

_OURS = (
    "demo",
    "run",
    "watch",
    "command",
    "display",
    "devices",
    "calibrate",
    "reconstruct",
    "assess",
    "replay",
    "report",
    "quality",
    "doctor",
    "bench",
    "recordings",
    "broker",
    "dicom",
    "fhir",
    "coding",
    "case",
)
"""In the order in which they are listed; each is in a module of its name."""


class _Commands(Mapping[str, Any]):
    """Loads a command when it is asked for: all of them together take seconds, and most need little.

    Other packages bring more (the simulator): found by entry point, so nothing here imports them.
    """

    def __init__(self) -> None:
        self._installed = {entry.name: entry for entry in entry_points(group=COMMAND_GROUP)}
        self._loaded: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        yield from _OURS
        yield from self._installed

    def __len__(self) -> int:
        return len(_OURS) + len(self._installed)

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Any:
        if name in _OURS:
            found = getattr(import_module(f"octmargin.commands.{name}"), name)
        else:
            found = self._installed[name].load()
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command()(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = name
        return command


class _LazyGroup(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Typer looks into it, and never writes.
        self.commands: Any = _Commands()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - its base's
        return list(self.commands)


app = typer.Typer(
    name="octmargin",
    cls=_LazyGroup,
    help="Margin flags from optical coherence tomography, in near real time. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"octmargin {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Margin flags from optical coherence tomography, in near real time. Research use only."""


def run_command_line() -> None:
    """Run the command that was asked for; what goes wrong is one line on standard error."""
    try:
        app()
    except OctMarginError as error:
        sys.stderr.write(f"octmargin: {error}\n")
        sys.exit(EXIT_REFUSED if isinstance(error, CaseRefusedError) else EXIT_ERROR)
    except MemoryError:
        sys.stderr.write(
            "octmargin: not enough memory; ask for fewer frames, A-lines, samples or ring slots\n"
        )
        sys.exit(EXIT_ERROR)
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        sys.stderr.write(
            f"octmargin: internal error: {type(error).__name__}: {error}; "
            f"run it again with {TRACEBACK_VARIABLE}=1 and report what it prints\n"
        )
        sys.exit(EXIT_INTERNAL)
