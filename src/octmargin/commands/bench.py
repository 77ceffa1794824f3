"""`octmargin bench`: how fast kernels and engine are on this machine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from octmargin.bench.daemon import DaemonPlan, measure_daemon
from octmargin.bench.engine import EnginePlan, measure_engine
from octmargin.bench.kernels import CompareCpu, KernelPlan, measure_kernels, measure_kernels_for_cpu
from octmargin.bench.link import LinkPlan, measure_link
from octmargin.bench.report import show_comparison, show_daemon, show_engine, show_kernels, show_link
from octmargin.cold_start import compiling_told
from octmargin.errors import InputError
from octmargin.margin import DEFAULT_MODEL

PLAIN_WIDTH = 160
_SERIAL_SHARES = (0.5, 0.9, 1.2)

bench = typer.Typer(
    help="Measure kernels, engine, link and daemon on this machine, with synthetic spectra.",
    no_args_is_help=True,
)

Samples = Annotated[int, typer.Option(min=16, help="Samples per spectrum.")]
Alines = Annotated[int, typer.Option(min=1, help="A-lines per frame.")]
Depth = Annotated[int | None, typer.Option(min=1, help="Depth pixels; half of the samples without it.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write figures and conditions to this file.")]


@bench.command()
def kernels(
    samples: Samples = 2048,
    alines: Alines = 512,
    depth: Depth = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which every row is timed once.")] = 40,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the threaded row.")] = 2,
    compare_cpu: Annotated[
        CompareCpu | None,
        typer.Option(help="Measure again in a process that compiles for this: what wide vectors gain."),
    ] = None,
    no_compare: Annotated[bool, typer.Option("--no-compare", hidden=True)] = False,
    json_path: JsonFile = None,
) -> None:
    """Microseconds per A-line of each kernel, beside FFT libraries, in one run of interleaved rounds."""
    _check_json(json_path)
    plan = KernelPlan(samples, alines, depth or samples // 2, rounds, threads)
    with compiling_told(_say):
        report = measure_kernels(plan)
    if compare_cpu is None and report.machine.is_narrowed and not no_compare:
        compare_cpu = CompareCpu.HOST
    # Shown and written before what may still fail: it took minutes.
    console = _console()
    show_kernels(report, console)
    _write(json_path, report)
    if compare_cpu is not None:
        _say(f"measuring again in a process that compiles for {compare_cpu.value} ...")
        compared = measure_kernels_for_cpu(plan, compare_cpu)
        show_comparison(report, compared, console)
        _write(json_path, {**_fields(report), "compared": _fields(compared)})


@bench.command()
def engine(
    samples: Samples = 2048,
    alines: Alines = 512,
    depth: Depth = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames to feed.")] = 200,
    ring_frames: Annotated[int, typer.Option(min=4, help="Frames that the ring holds.")] = 16,
    line_rate_hz: Annotated[
        float | None,
        typer.Option(min=1.0, help="Feed at so many A-lines per second and lose what is too much."),
    ] = None,
    bscans: Annotated[
        bool, typer.Option("--bscans", help="Keep the B-scan of every frame, as for a display.")
    ] = False,
    json_path: JsonFile = None,
) -> None:
    """Raw frames in the ring to flags out, with 1 and 2 engine threads: rate, losses, latency."""
    _check_json(json_path)
    plan = EnginePlan(samples, alines, depth or samples // 2, frames, ring_frames, line_rate_hz, bscans)
    with compiling_told(_say):
        report = measure_engine(plan)
    show_engine(report, _console())
    _write(json_path, report)


@bench.command()
def link(
    samples: Samples = 2048,
    alines: Alines = 512,
    seconds: Annotated[float, typer.Option(min=0.5, help="Time at each rate.")] = 5.0,
    rates: Annotated[
        str | None,
        typer.Option(
            help="A-lines per second to ask for, with commas between; a serial line's are half, 0.9 and 1.2 of what it "
            "carries unless given."
        ),
    ] = None,
    baud: Annotated[
        int | None, typer.Option(min=300, help="A serial line of this rate instead of USB.")
    ] = None,
    json_path: JsonFile = None,
) -> None:
    """The link alone at rising rates, beside a memory copy and a loopback socket of the same run."""
    _check_json(json_path)
    plan = LinkPlan(samples, alines, seconds, baud=baud)
    if rates is not None:
        plan = replace(plan, rates_hz=_rates(rates))
    elif plan.line_mb_per_s is not None:
        carried_hz = 1e6 * plan.line_mb_per_s / (2 * samples)
        plan = replace(plan, rates_hz=tuple(share * carried_hz for share in _SERIAL_SHARES))
    report = measure_link(plan)
    show_link(report, _console())
    _write(json_path, report)


@bench.command()
def daemon(
    samples: Samples = 2048,
    alines: Alines = 512,
    seconds: Annotated[float, typer.Option(min=2, help="How long it is looked at, once it is warm.")] = 30.0,
    line_rate_hz: Annotated[float, typer.Option(min=1.0, help="A-lines per second.")] = 50_000.0,
    frames: Annotated[int, typer.Option(min=2, help="Frames per sweep.")] = 60,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Engine threads.")] = 1,
    model: Annotated[str, typer.Option(help="The model that judges.")] = DEFAULT_MODEL,
    record: Annotated[
        Path | None, typer.Option(help="Record too, into this folder; what is recorded is deleted again.")
    ] = None,
    json_path: JsonFile = None,
) -> None:
    """The whole daemon at a pace: what comes of every frame, raw to flag beside a bare MQTT round trip."""
    _check_json(json_path)
    if record is not None and not record.is_dir():
        raise InputError(f"--record {record}: no such folder; name one on the disk to be measured")
    plan = DaemonPlan(
        samples,
        alines,
        frames,
        line_rate_hz,
        seconds,
        threads,
        model,
        None if record is None else str(record),
    )
    report = measure_daemon(plan, _say)
    show_daemon(report, _console())
    _write(json_path, report)


def _rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError:
        rates = ()
    if not rates or not all(rate > 0 for rate in rates):
        raise InputError(f"--rates {text}: give A-lines per second, such as 50000,100000")
    return rates


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _console() -> Console:
    """As wide as the terminal is; elsewhere wide enough that no line of the table breaks."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def _fields(report: object) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(report)
    return fields


def _check_json(path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir() or not path.resolve().parent.is_dir():
        raise InputError(f"--json {path}: cannot be written there; name a file in a folder that exists")
    if not os.access(path if path.exists() else path.resolve().parent, os.W_OK):
        raise InputError(f"--json {path}: may not be written; name a file that may")


def _write(path: Path | None, report: object) -> None:
    if path is None:
        return
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    except OSError as error:
        raise InputError(
            f"--json {path}: cannot be written ({error.strerror}); the figures stand above"
        ) from error
