"""The bus in a terminal: what an independent subscriber sees of one console, never stale shown as good."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from octmargin.bus.connection import BrokerSettings
from octmargin.bus.messages import STATE_LETTERS, CaseMessage, MapMessage, Priority
from octmargin.bus.subscriber import Subscriber
from octmargin.bus.tally import FaceResults, Tally
from octmargin.bus.topics import Topics
from octmargin.frames import FACES, BlockState
from octmargin.words import NOTICE, percent

REFRESH_HZ = 4
_MAP_ROWS = 24
_MAP_COLUMNS = 96

_SYMBOLS: dict[BlockState, tuple[str, str]] = {
    BlockState.NOT_SCANNED: ("·", "bright_black"),
    BlockState.LOST: ("x", "white on grey37"),
    BlockState.POOR: ("?", "grey70"),
    BlockState.NOTHING_SUSPICIOUS: ("o", "blue"),
    BlockState.SUSPICIOUS: ("#", "bold magenta"),
}
"""Character and colour of a block: each tells alone. Red, yellow and cyan are left to the alarms."""

_WORST_FIRST = (
    BlockState.SUSPICIOUS,
    BlockState.LOST,
    BlockState.POOR,
    BlockState.NOT_SCANNED,
    BlockState.NOTHING_SUSPICIOUS,
)
"""What one character stands for where it covers several blocks: never better than the worst of them."""

_ALARM_COLOURS: dict[Priority, str] = {"high": "red", "medium": "yellow", "low": "cyan"}
"""IEC 60601-1-8."""

_VERDICT_STYLES = {"suspicious": "bold magenta", "nothing_suspicious": "blue", "indeterminate": "bold"}
_STALE = "grey50 italic"
_VERDICT_WIDTH = len("nothing suspicious")
_WIDE = 96
"""Columns that the table of the faces needs with its counts."""


def render(tally: Tally, now: datetime, topics: Topics) -> RenderableType:
    """Everything the tally knows as of `now`; what is stale is grey and says why."""
    # The map comes last: where the terminal is too small, it is what is cut off.
    faces = (_Faces(tally, now), _left_open(tally, now))
    parts = [_header(tally, now, topics), _alarms(tally), *faces, _figures(tally, now)]
    return Group(*(part for part in (*parts, _current_map(tally, now)) if part is not None))


async def watch(
    settings: BrokerSettings, topics: Topics, *, seconds: float | None = None, console: Console | None = None
) -> Tally:
    """Show a console live until cancelled, or for `seconds`; gives back what was counted.

    `BrokerError` where the broker cannot be reached at the start; later losses are shown and waited out.
    """
    tally = Tally()
    ends_at_s = None if seconds is None else time.monotonic() + seconds
    async with Subscriber(settings, topics) as events:
        with Live(_rendered_now(tally, topics), console=console, auto_refresh=False) as live:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_count(events, tally))
                while ends_at_s is None or time.monotonic() < ends_at_s:
                    live.update(_rendered_now(tally, topics), refresh=True)
                    await asyncio.sleep(1 / REFRESH_HZ)
                events.stop()
            live.update(_rendered_now(tally, topics), refresh=True)
    return tally


def _rendered_now(tally: Tally, topics: Topics) -> RenderableType:
    return render(tally, datetime.now(UTC), topics)


async def _count(events: Subscriber, tally: Tally) -> None:
    async for event in events:
        tally.add(event)


def _header(tally: Tally, now: datetime, topics: Topics) -> Panel:
    lines = []
    if tally.synthetic:
        lines.append(Text(" SYNTHETIC: the spectra were computed, not measured ", style="bold reverse"))
    if (reason := tally.stale_reason(now)) is not None:
        lines.append(Text(f"STALE: {reason}; nothing below is current", style=f"bold {_STALE}"))
    described = tally.description
    if described is None:
        lines.append(Text("no description of the console", style=_STALE))
    else:
        console = described.console
        if console.simulated:
            lines.append(Text(f"NOT LIVE: a simulated console shows {console.source}", style="bold"))
        who = " ".join(part for part in (console.maker, console.model, console.serial) if part)
        lines.append(
            Text(f"{who} via {console.driver} {console.address}, firmware {console.firmware or '?'}")
        )
        model, calibration = described.model, described.calibration
        lines.append(
            Text(
                f"octmargin {described.software_version}, model {model.name} {model.version}, "
                f"calibration {calibration.id}"
            )
        )
    if tally.case is not None:
        lines.append(Text(_on_stage(tally.case)))
    return Panel(
        Group(*lines),
        title=Text(f"{topics.site}/{topics.console}: {tally.state or 'unknown'}"),
        subtitle=Text(NOTICE),
        title_align="left",
        subtitle_align="left",
    )


def _on_stage(case: CaseMessage) -> str:
    specimen = case.specimen
    if specimen is None:
        return f"case {case.case_id}, no specimen registered"
    side = "side unknown" if specimen.laterality == "unknown" else specimen.laterality
    face = f" {case.face}" if case.face else ""
    about = ", ".join(part for part in (specimen.kind, side, specimen.label, specimen.orientation) if part)
    return f"case {case.case_id}, specimen {case.specimen_id} ({about}): {case.phase}{face}"


def _alarms(tally: Tally) -> RenderableType | None:
    if not tally.alarms:
        return None
    return Group(
        *(
            Text(
                f"{alarm.priority.upper()} {alarm.text}: {alarm.remedy}"
                f"{f' (known to {alarm.acknowledged_by})' if alarm.acknowledged_by else ''}",
                style=_ALARM_COLOURS[alarm.priority],
            )
            for alarm in tally.alarms.values()
        )
    )


@dataclass(frozen=True, slots=True)
class _Faces:
    """The table of the faces; a narrow terminal gets it without the counts, never with a verdict cut short."""

    tally: Tally
    now: datetime

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        legend = Text("  ").join(
            Text.assemble(_symbol(state), f" {_words(state.name)}") for state in BlockState
        )
        table = Table(caption=legend, caption_justify="left")
        table.add_column("face", no_wrap=True, min_width=9)
        table.add_column("verdict", no_wrap=True, min_width=_VERDICT_WIDTH)
        for name in ("sweep", "coverage", "depth", "nearest"):
            table.add_column(name, no_wrap=True)
        states = list(BlockState) if options.max_width >= _WIDE else []
        for state in states:
            table.add_column(_symbol(state), justify="right", no_wrap=True)
        for face in _face_order(self.tally):
            table.add_row(*_face_row(self.tally, face, self.now, states))
        yield table


def _face_order(tally: Tally) -> list[str]:
    planned = tally.case.faces if tally.case else list(FACES)
    return [*planned, *(face for face in tally.faces if face not in planned)]


def _face_row(tally: Tally, face: str, now: datetime, states: list[BlockState]) -> list[Text]:
    results = tally.faces.get(face, FaceResults())
    verdict = results.verdict
    if (stale := tally.stale_reason(now, face)) is not None:
        return [Text(face, style=_STALE), Text(_stale_verdict(results, stale), style=_STALE)]
    counts = verdict.counts if verdict else results.map.counts if results.map else None
    cells = [Text("" if counts is None else str(getattr(counts, state.name.lower()))) for state in states]
    if verdict is None:
        return [Text(face), Text("no verdict yet"), Text(), Text(), Text(), Text(), *cells]
    return [
        Text(face),
        Text(_words(verdict.verdict), style=_VERDICT_STYLES[verdict.verdict]),
        Text("running" if verdict.provisional else "done"),
        Text(percent(verdict.coverage)),
        _millimetres(verdict.visualised_depth_mm),
        _millimetres(verdict.distance_mm),
        *cells,
    ]


def _left_open(tally: Tally, now: datetime) -> RenderableType | None:
    """Why each face that is done is indeterminate: what is to be mended before it is scanned again."""
    verdicts = [
        (face, results.verdict)
        for face in _face_order(tally)
        if (results := tally.faces.get(face)) is not None and tally.stale_reason(now, face) is None
    ]
    lines = [
        Text(f"{face} is indeterminate: {'; '.join(verdict.reasons)}")
        for face, verdict in verdicts
        if verdict is not None and verdict.verdict == "indeterminate" and not verdict.provisional
    ]
    return Group(*lines) if lines else None


def _stale_verdict(results: FaceResults, reason: str) -> str:
    """Say why a verdict is not valid, and repeat it only if it was a warning."""
    if results.verdict is None:
        return reason if results.unreadable or results.map else "-"
    if results.verdict.verdict == "suspicious":
        return f"STALE ({reason}); was suspicious"
    return f"STALE ({reason})"


def _current_map(tally: Tally, now: datetime) -> RenderableType | None:
    face = _scanned_face(tally)
    results = tally.faces.get(face)
    if results is None or results.map is None:
        return None
    if (reason := tally.stale_reason(now, face)) is not None:
        return Panel(Text(f"map of {face} is STALE: {reason}", style=_STALE), title="map", title_align="left")
    return Panel(draw_map(results.map), title=Text(f"map of {face}"), title_align="left", expand=False)


def _scanned_face(tally: Tally) -> str:
    """Face of the last flag, else of the newest map."""
    if tally.last_flag is not None:
        return tally.last_flag.face
    maps = [results.map for results in tally.faces.values() if results.map is not None]
    return max(maps, key=lambda each: each.published_at).face if maps else ""


def draw_map(face_map: MapMessage) -> Text:
    """En-face map, frames downwards, one character per block, fewer where there is no room for all."""
    text = Text()
    row_step = -(-face_map.frames // _MAP_ROWS) or 1
    column_step = -(-face_map.blocks // _MAP_COLUMNS) or 1
    for top in range(0, face_map.frames, row_step):
        rows = face_map.grid[top : top + row_step]
        for left in range(0, face_map.blocks, column_step):
            letters = {letter for row in rows for letter in row[left : left + column_step]}
            text.append_text(_symbol(_worst(letters)))
        text.append("\n")
    text.rstrip()
    return text


def _worst(letters: set[str]) -> BlockState:
    return next(state for state in _WORST_FIRST if STATE_LETTERS[state] in letters)


def _figures(tally: Tally, now: datetime) -> RenderableType:
    flags = tally.flags
    rate = flags.rate_blocks_per_s(int(now.timestamp() * 1e9))
    heard = (
        f"heard: {flags.messages} frames, {flags.blocks} flags, {rate:.0f} flags/s, "
        f"{flags.duplicates} repeated, {flags.gaps} missing, {tally.malformed} malformed"
        f"{f', {tally.late} of earlier runs' if tally.late else ''}"
    )
    latency = tally.latency_ms
    if latency is not None:
        heard += f"; last byte to here p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms"
    lines = [Text(heard)]
    if (health := tally.health) is not None:
        frames, queue = health.frames, health.queue
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(frames.lost_by_reason.items()))
        said = (
            f"daemon: frames {frames.sent} sent, {frames.received} received, {frames.processed} processed, "
            f"{frames.lost} lost{f' ({reasons})' if reasons else ''}; "
            f"{health.rate_alines_per_s:,.0f} A-lines/s; queue {queue.waiting}, dropped {queue.dropped}"
        )
        if health.latency_ms is not None:
            said += f"; to the way out p50 {health.latency_ms.p50:.1f} ms, p99 {health.latency_ms.p99:.1f} ms"
        lines.append(Text(said, style=_STALE if tally.is_stale(now) else ""))
    return Group(*lines)


def _symbol(state: BlockState) -> Text:
    character, style = _SYMBOLS[state]
    return Text(character, style=style)


def _millimetres(value: float | None) -> Text:
    return Text("-" if value is None else f"{value:.2f} mm")


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
