"""`octmargin assess`: a recording, or a file of spectra, into verdicts, maps and a sheet to look at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from octmargin.archive import Recording
from octmargin.assessment import (
    DOCUMENT,
    SHEET,
    AssessmentSettings,
    FaceRecord,
    FileSubject,
    Subject,
    assess_specimen,
)
from octmargin.cold_start import compiling_told
from octmargin.config import EngineSection, JudgingSection, ModelSection, load_config
from octmargin.errors import CalibrationError, ConfigError, InputError
from octmargin.mirrors import calibration_beside
from octmargin.signal import Calibration
from octmargin.spectra import SpectraFile
from octmargin.words import percent

DEFAULT_FACE = "superior"


def assess(
    path: Annotated[
        Path, typer.Argument(help="Recording (a folder), or file of spectra (.npy, .bin, .h5) of one face.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the results.")] = Path(
        "assessment"
    ),
    model: Annotated[str | None, typer.Option(help="The model that judges.")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration whose policy, rule and engine.depth are used."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Frames that are judged at a time.")] = 1,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Calibration file; else the recording's own, or that of mirrors beside a file of spectra."
        ),
    ] = None,
    axial_um: Annotated[
        float | None,
        typer.Option(min=0.01, max=1000, help="Depth pixel in tissue, µm; the calibration's unless given."),
    ] = None,
    face: Annotated[
        str | None,
        typer.Option(help="The only face of a recording to assess, or the face that a file shows."),
    ] = None,
    width_mm: Annotated[
        float | None, typer.Option(min=0.01, max=1000, help="Width of a frame (file of spectra).")
    ] = None,
    height_mm: Annotated[
        float | None, typer.Option(min=0.01, max=1000, help="Extent across the frames (file of spectra).")
    ] = None,
    synthetic: Annotated[
        bool | None,
        typer.Option("--synthetic/--measured", help="Whether the spectra were computed (file of spectra)."),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(min=1, max=16, help="Significant bits of a count, which say what is saturated (file)."),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Samples per spectrum (.bin).")] = None,
    alines: Annotated[int | None, typer.Option(min=1, help="A-lines per frame (.bin).")] = None,
) -> None:
    """Judge every frame of a specimen, and write verdicts, maps and a sheet (HTML). Research use only."""
    if not path.exists():
        raise InputError(f"{path}: no such recording or file of spectra; check the path")
    configured = load_config(config) if config is not None else None
    judging: JudgingSection = configured or JudgingSection()
    if model is not None:
        judging = msgspec.structs.replace(
            judging, model=ModelSection(name=model, suspicious_at=judging.model.suspicious_at)
        )
    settings = AssessmentSettings(
        judging=judging,
        depth=(configured.engine if configured else EngineSection()).depth,
        threads=threads,
    )
    of_file = _FileOptions(width_mm, height_mm, synthetic, bits, samples, alines)
    subject: Subject
    subject, own = _recording(path, of_file) if path.is_dir() else _file(path, of_file, face or DEFAULT_FACE)
    # The recording knows its depth pixel even where another calibration is given that does not.
    own_um = subject.axial_um if isinstance(subject, Recording) else None
    if face is not None and face not in subject.faces:
        raise InputError(f"--face {face}: {path} has no such face; it has {', '.join(subject.faces)}")
    used = Calibration.load(calibration) if calibration is not None else own()
    with compiling_told(lambda line: typer.echo(line, err=True)):
        assess_specimen(
            subject,
            used,
            _axial_um(path, axial_um or used.axial_um or own_um),
            output,
            settings,
            faces=subject.faces if face is None else (face,),
            on_progress=_show_progress if sys.stderr.isatty() else None,
            on_face=lambda record: typer.echo("\n".join(_lines(record))),
        )
    typer.echo(f"sheet: {output / SHEET}")
    typer.echo(f"document: {output / DOCUMENT}")
    origin = "SYNTHETIC spectra" if subject.synthetic else "measured spectra"
    typer.echo(f"research use only, {origin}")


@dataclass(frozen=True, slots=True)
class _FileOptions:
    """What a file of spectra does not tell; a recording does."""

    width_mm: float | None
    height_mm: float | None
    synthetic: bool | None
    bits: int | None
    samples: int | None
    alines: int | None

    @property
    def given(self) -> list[str]:
        """The options that were given, as one writes them."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        flags = {True: "--synthetic", False: "--measured"}
        return [
            flags[value] if name == "synthetic" else f"--{name.replace('_', '-')}"
            for name, value in named.items()
            if value is not None
        ]


def _recording(path: Path, options: _FileOptions) -> tuple[Recording, Callable[[], Calibration]]:
    """The recording and where its calibration comes from."""
    recording = Recording.open(path)
    if options.given:
        raise InputError(
            f"{path}: is a recording and tells this itself; leave out {', '.join(options.given)}"
        )

    def own_calibration() -> Calibration:
        if recording.calibration is None:
            raise CalibrationError(
                f"{path}: the recording has no calibration; make one with `octmargin calibrate` and give "
                "--calibration"
            )
        return recording.calibration

    return recording, own_calibration


def _file(path: Path, options: _FileOptions, face: str) -> tuple[FileSubject, Callable[[], Calibration]]:
    """The file as one face, and where its calibration comes from."""
    file = SpectraFile.open(path, samples=options.samples, alines=options.alines)
    width_mm, height_mm, synthetic = options.width_mm, options.height_mm, options.synthetic
    if width_mm is None or height_mm is None or synthetic is None:
        missing = {
            "--width-mm": width_mm,
            "--height-mm": height_mm,
            "--synthetic or --measured": synthetic,
        }
        wanted = [option for option, value in missing.items() if value is None]
        raise InputError(f"{path}: a file of spectra does not tell everything; give {', '.join(wanted)}")
    subject = FileSubject(
        file,
        face=face,
        width_mm=width_mm,
        height_mm=height_mm,
        synthetic=synthetic,
        bits=options.bits,
    )
    return subject, lambda: calibration_beside(file)


def _axial_um(path: Path, known_um: float | None) -> float:
    if known_um is None:
        raise ConfigError(
            f"{path}: nothing tells the depth pixel in tissue, and distances need it; give --axial-um"
        )
    return known_um


def _lines(record: FaceRecord) -> Iterator[str]:
    """One face in one line; and a second one where it is left open, which says why."""
    parts = [f"{record.face:<10} {record.verdict.replace('_', ' '):<18} coverage {percent(record.coverage)}"]
    if record.visualised_depth_mm is not None:
        parts.append(f"visualised depth {record.visualised_depth_mm:.2f} mm")
    if record.distance_mm is not None:
        parts.append(f"nearest {record.distance_mm:.2f} mm")
    if lost := sum(record.lost_frames.values()):
        parts.append(f"{lost} of {record.frames} frames lost")
    if record.truth is not None:
        parts.append(f"in truth {record.truth}")
    yield ", ".join(parts)
    if record.verdict == "indeterminate":
        yield f"{'':<10} {'; '.join(record.reasons)}"


def _show_progress(face: str, done: int, total: int) -> None:
    end = "\r" if done < total else "\r\033[K"
    print(f"{face}: {done} of {total} frames", end=end, file=sys.stderr, flush=True)  # noqa: T201
