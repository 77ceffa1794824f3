"""The reports of `octmargin bench` as text: tables on a terminal, plain columns elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from octmargin.bench.daemon import DaemonReport, Quantiles
from octmargin.bench.engine import EngineReport
from octmargin.bench.kernels import KernelReport, MeasuredRow
from octmargin.bench.link import LinkPlan, LinkReport
from octmargin.bench.machine import Machine


def show_kernels(report: KernelReport, console: Console) -> None:
    """Print header and table."""
    plan, peaks = report.plan, report.peaks
    lines = [
        *_machine_lines(report.machine),
        f"{plan.samples} samples, {plan.alines} A-lines, {plan.depth} depth pixels",
        f"{plan.rounds} interleaved rounds; synthetic spectra, uint16",
        f"one core: copies {peaks.copy_gb_per_s:.1f} GB/s, multiplies and adds {peaks.gflop_per_s:.0f} GFLOP/s",
        f"numpy+scipy chain and ours differ by at most {report.chains_differ_db:.2g} dB",
    ]
    _print_lines(console, lines)
    headings = ("", "min µs/A-line", "median µs/A-line", "A-lines/s", "x scipy.fft", "roof µs", "")
    _print_table(console, headings, [_kernel_cells(row) for row in report.rows])


def show_comparison(report: KernelReport, compared: KernelReport, console: Console) -> None:
    """Print what the same takes with another processor's instructions."""
    _print_lines(console, _comparison_lines(report, compared))


def show_engine(report: EngineReport, console: Console) -> None:
    """Print header and table."""
    plan = report.plan
    fed = (
        "as fast as it takes them" if plan.line_rate_hz is None else f"at {plan.line_rate_hz:,.0f} A-lines/s"
    )
    lines = [
        *_machine_lines(report.machine),
        f"{plan.frames} frames of {plan.alines} A-lines, {plan.samples} samples, {plan.depth} depth pixels",
        f"fed {fed}; ring of {plan.ring_frames} frames; synthetic spectra",
        "latency: frame put into the ring until its flags are delivered",
    ]
    _print_lines(console, lines)
    rows = [
        (str(run.threads), f"{run.alines_per_s:,.0f}", str(run.fed), str(run.judged), str(run.lost),
         f"{run.latency_p50_ms:.1f}", f"{run.latency_p99_ms:.1f}")
        for run in report.runs
    ]  # fmt: skip
    _print_table(console, ("engine threads", "A-lines/s", "fed", "judged", "lost", "p50 ms", "p99 ms"), rows)


def show_link(report: LinkReport, console: Console) -> None:
    """Print header and table."""
    plan = report.plan
    frame_mb = 2 * plan.samples * plan.alines / 1e6
    lines = [
        *_machine_lines(report.machine),
        f"frames of {plan.alines} A-lines, {plan.samples} samples, 16 bit: {frame_mb:.3g} MB",
        f"console and driver in two processes, {_wire(plan)}; a consumer that only takes; CPU is of one core",
        f"bare limits: a thread copies {report.copy_mb_per_s:,.0f} MB/s, a socket {report.socket_mb_per_s:,.0f}",
    ]
    limit_mb_per_s = plan.line_mb_per_s or report.socket_mb_per_s
    _print_lines(console, lines)
    rows = [
        (f"{run.rate_hz:,.0f}", f"{run.mb_per_s:.3g}", f"{run.mb_per_s / limit_mb_per_s:.2f}",
         str(run.numbered), str(run.received), str(run.numbered - run.received),
         f"{100 * run.host_cpu_share:.0f} %", f"{100 * run.console_cpu_share:.0f} %",
         ", ".join(f"{count} {cause}" for cause, count in run.lost_by_cause.items()))
        for run in report.runs
    ]  # fmt: skip
    headings = (
        "A-lines/s asked",
        "MB/s",
        "of socket" if plan.baud is None else "of line",
        "numbered",
        "received",
        "lost",
        "host CPU",
        "console CPU",
        "",
    )
    _print_table(console, headings, rows)


def _wire(plan: LinkPlan) -> str:
    if plan.baud is None:
        return "USB over USB/IP"
    return f"a serial line of {plan.baud:,} baud, which carries {plan.line_mb_per_s:.3g} MB/s, on a PTY"


def show_daemon(report: DaemonReport, console: Console) -> None:
    """Print what came of every frame, and what it took."""
    plan = report.plan
    causes = ", ".join(f"{count} {cause}" for cause, count in sorted(report.lost_by_cause.items()))
    over = "-" if report.over_budget is None else f"{100 * report.over_budget:.1f} %"
    books = "every frame accounted for" if report.is_accounted_for else "NOT every frame accounted for"
    threads = f"{plan.threads} engine thread{'s' if plan.threads > 1 else ''}"
    lines = [
        *_machine_lines(report.machine),
        f"{report.source} (SYNTHETIC); console, daemon and broker in processes of their own",
        f"{plan.alines} A-lines x {plan.samples} samples a frame, {plan.rate_hz:,.0f} A-lines/s, {plan.seconds:g} s",
    ]
    rows = [
        ("judged by", f"{plan.model}, {threads}"),
        ("numbered by the console", f"{report.numbered_by_console} frames"),
        ("processed", f"{report.processed}"),
        ("lost", f"{report.lost}{f' ({causes})' if causes else ''}: {books}"),
        ("flag messages heard", f"{report.flags_heard}"),
        ("spectra, with the pauses between sweeps", f"{report.mb_per_s:.0f} MB/s"),
        ("frame period", f"{report.frame_ms:.2f} ms"),
        ("last byte to flag at a subscriber", _quantiles(report.raw_to_flag_ms)),
        ("longer than a frame to the way out", over),
        ("bare MQTT round trip, meanwhile", _quantiles(report.round_trip_ms)),
        ("bare MQTT round trip, before", _quantiles(report.round_trip_idle_ms)),
        ("CPU of the daemon, of one core", f"{100 * report.daemon_cpu_share:.0f} %"),
        ("CPU of the simulated console", f"{100 * report.console_cpu_share:.0f} %"),
        (
            "memory of the daemon",
            f"{report.rss_settled_mb:.0f} MB settled, {report.rss_end_mb:.0f} MB at the end",
        ),
    ]
    if report.recorded is not None:
        rows.append(("recorded", f"{report.recorded} frames, {report.unrecorded} missed"))
        rows.append(("the bare disk", f"{report.disk_mb_per_s:.0f} MB/s"))
    _print_lines(console, lines)
    _print_table(console, ("", ""), rows)


def _quantiles(found: Quantiles | None) -> str:
    return "-" if found is None else f"p50 {found.p50:.2f} ms, p99 {found.p99:.2f} ms"


def _kernel_cells(row: MeasuredRow) -> tuple[str, ...]:
    roof = "-" if row.roof_us is None else f"{row.roof_us:.2f}"
    if row.timing is None:
        return (row.name, "-", "-", "-", "-", roof, row.note)
    t = row.timing
    times = (f"{t.minimum_us:.2f}", f"{t.median_us:.2f}", f"{t.alines_per_s:,.0f}", f"{t.ratio:.2f}")
    return (row.name, *times, roof, row.what)


def _machine_lines(machine: Machine) -> Iterator[str]:
    unit = machine.compiled_for
    yield f"{machine.cpu}, {machine.cores} cores"
    yield f"numba compiles for {machine.llvm_cpu}: {unit.name}, {unit.lanes} float32 lanes"
    if machine.is_narrowed:
        yield (
            f"NOTE: this processor has {machine.available.name}, {machine.available.lanes} lanes, which "
            "NUMBA_CPU_NAME or NUMBA_CPU_FEATURES keep numba from using"
        )
    yield (
        f"octmargin {machine.octmargin}, Python {machine.python}, numba {machine.numba}, numpy {machine.numpy}, "
        f"scipy {machine.scipy}"
    )


def _comparison_lines(report: KernelReport, compared: KernelReport) -> Iterator[str]:
    unit = compared.machine.compiled_for
    yield f"the same compiled for {compared.machine.llvm_cpu} ({unit.name}, {unit.lanes} lanes), its time over ours:"
    other = {row.name: row.timing for row in compared.rows}
    for row in report.rows:
        theirs = other.get(row.name)
        if row.timing is not None and theirs is not None:
            yield f"  {row.name:<30}{theirs.median_us / row.timing.median_us:6.2f}"


def _print_lines(console: Console, lines: Iterator[str] | Sequence[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _print_table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for number, heading in enumerate(headings):
        is_text = number == 0 or (number == len(headings) - 1 and not heading)
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=not is_text)
    for row in rows:
        table.add_row(*row)
    console.print(table)
