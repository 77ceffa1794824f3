"""`octmargin study`: a simulated validation study, from specimens to a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from octmargin.cold_start import compiling_told
from octmargin.errors import InputError
from octmargin.margin import DEFAULT_MODEL
from octmargin_simulator.study.plan import PARTS, StudyPlan
from octmargin_simulator.study.plots import require_matplotlib
from octmargin_simulator.study.records import StudyResults
from octmargin_simulator.study.report import MARKDOWN_FILE, REPORT_FILE, shown, write_report
from octmargin_simulator.study.run import run_study
from octmargin_simulator.study.tables import summarise

_QUICK = {
    "specimens": 6,
    "paired_specimens": 2,
    "artefact_specimens": None,
    "alines": 256,
    "frames": 16,
    "width_mm": 4.0,
    "height_mm": 3.2,
}


def study(
    specimens: Annotated[int, typer.Option(min=1, help="Simulated specimens to examine.")] = 200,
    paired_specimens: Annotated[
        int,
        typer.Option(min=1, help="The first of them, examined also in shifted worlds and with artefacts."),
    ] = 50,
    artefact_specimens: Annotated[
        int | None,
        typer.Option(min=1, help="So many of them with artefacts, where that is not as many as in worlds."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first specimen; the others follow.")] = 1,
    model: Annotated[str, typer.Option(help="The margin model under test.")] = DEFAULT_MODEL,
    worlds: Annotated[str, typer.Option(help="Parts of the study, with commas between.")] = ",".join(PARTS),
    faces_per_specimen: Annotated[
        int | None, typer.Option(min=1, help="Examine so many faces of a specimen; all without it.")
    ] = None,
    alines: Annotated[int, typer.Option(min=16, help="A-lines per frame.")] = 512,
    frames: Annotated[int, typer.Option(min=1, help="Frames per face.")] = 40,
    output: Annotated[
        Path | None,
        typer.Option(help='Folder for results and report; "study", or that of --from, without it.'),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; as many as processors without it. Results do not depend on it."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A handful of specimens on a small field, to see that it works.")
    ] = False,
    from_folder: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Make the report again from the results in this folder; nothing is computed."
        ),
    ] = None,
) -> None:
    """Examine simulated specimens of known truth, and report as a clinical study would. SYNTHETIC tissue throughout."""
    require_matplotlib()
    output = output or from_folder or Path("study")
    if from_folder is not None:
        results = StudyResults.load(from_folder)
    else:
        given = StudyPlan(
            model=model,
            first_seed=seed,
            specimens=specimens,
            paired_specimens=paired_specimens,
            artefact_specimens=artefact_specimens,
            parts=tuple(part for part in PARTS if part in _named(worlds)),
            faces_per_specimen=faces_per_specimen,
            alines=alines,
            frames=frames,
        )
        plan = msgspec.structs.replace(given, **_QUICK) if quick else given
        _check_folder(output)
        with compiling_told(_say):
            results = run_study(plan, processes=processes, progress=_progress)
        results.save(output)
    summary = summarise(results)
    write_report(summary, output)
    typer.echo(f"SYNTHETIC tissue, model {results.plan.model}, {results.plan.specimens} specimens:")
    for row in summary.endpoints.rows:
        typer.echo(f"  {shown(row.values['estimate']):34}  {row.label}")
    typer.echo(f"{output / REPORT_FILE}: the report; beside it {MARKDOWN_FILE} and the results")


def _named(worlds: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in worlds.split(","))
    if unknown := [name for name in names if name not in PARTS]:
        raise InputError(f"--worlds {unknown[0]!r}: give any of {', '.join(PARTS)}, with commas between")
    return names


def _check_folder(folder: Path) -> None:
    """Refuse before hours of computing what could not be written after them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"--output {folder}: cannot be written: {error.strerror}; name another folder"
        ) from error


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else "\r"
        print(f"examining: {done} of {total} specimens", end=end, file=sys.stderr, flush=True)  # noqa: T201


def _say(line: str) -> None:
    typer.echo(line, err=True)
