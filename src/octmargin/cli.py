"""The command line: `octmargin COMMAND`. Errors are one line that says what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Annotated

import typer
from typer.main import get_command

from octmargin import __version__
from octmargin.commands.assess import assess
from octmargin.commands.bench import bench
from octmargin.commands.broker import broker
from octmargin.commands.calibrate import calibrate
from octmargin.commands.case import case
from octmargin.commands.coding import coding
from octmargin.commands.command import command
from octmargin.commands.demo import demo
from octmargin.commands.devices import devices
from octmargin.commands.dicom import dicom
from octmargin.commands.display import display
from octmargin.commands.doctor import doctor
from octmargin.commands.fhir import fhir
from octmargin.commands.quality import quality
from octmargin.commands.reconstruct import reconstruct
from octmargin.commands.recordings import recordings
from octmargin.commands.replay import replay
from octmargin.commands.report import report
from octmargin.commands.run import run
from octmargin.commands.watch import watch
from octmargin.errors import EXIT_REFUSED, CaseRefusedError, OctMarginError

COMMAND_GROUP = "octmargin.commands"
TRACEBACK_VARIABLE = "OCTMARGIN_TRACEBACK"
EXIT_ERROR = 2
EXIT_INTERNAL = 70

app = typer.Typer(
    name="octmargin",
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


for _command in (
    demo,
    run,
    watch,
    command,
    display,
    devices,
    calibrate,
    reconstruct,
    assess,
    replay,
    report,
    quality,
    doctor,
):
    app.command()(_command)
app.add_typer(bench, name="bench")
app.add_typer(recordings, name="recordings")
app.add_typer(broker, name="broker")
app.add_typer(dicom, name="dicom")
app.add_typer(fhir, name="fhir")
app.add_typer(coding, name="coding")
app.add_typer(case, name="case")


def _add_installed_commands(words: Sequence[str]) -> None:
    """Commands that other packages bring (the simulator): found by entry point, so nothing here imports them.

    Where the words of the command line name another one they are left alone: some take seconds to load.
    """
    asked = next((word for word in words if not word.startswith("-")), "")
    installed = {entry.name: entry for entry in entry_points(group=COMMAND_GROUP)}
    if asked in installed:
        installed = {asked: installed[asked]}
    elif asked in get_command(app).commands:  # type: ignore[attr-defined] # it has subcommands
        return
    for name, entry in installed.items():
        app.command(name)(entry.load())


def run_command_line() -> None:
    """Run the command that was asked for; what goes wrong is one line on standard error."""
    try:
        _add_installed_commands(sys.argv[1:])
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
