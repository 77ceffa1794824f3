"""From outcomes to what is said: flags, map and verdict of the face that is being scanned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from octmargin.bus import (
    MOST_KEY_VIEWS,
    FlagMessage,
    KeyView,
    MapMessage,
    Publisher,
    VerdictMessage,
    count_states,
    grid_letters,
    rounded,
    utc_from_ns,
)
from octmargin.engine import Judged
from octmargin.frames import BlockState, LostFrames
from octmargin.latency import LatencyHistogram
from octmargin.logged import LoggedFlags, LoggedMap, LoggedVerdict
from octmargin.margin import Cluster, Verdict
from octmargin.sweeps import SweepBook

MAP_INTERVAL_S = 0.5
"""How often the map and the provisional verdict are said while a face is being scanned."""


class Ledger(Protocol):
    """Keeps what is final of each sweep."""

    def sweep_begins(self, book: SweepBook, case_id: str, specimen_id: str) -> None:
        """A sweep over a face begins."""

    def sweep_ends(self, book: SweepBook, face_map: MapMessage, verdict: VerdictMessage) -> None:
        """Its final verdict is said."""


class ResultDesk:
    """Takes the outcomes of the present sweep and says them on the bus. Lives on the event loop.

    What is final, flags, losses, maps and verdicts, also goes to `note(kind, content)`, for the recording; sweeps with
    their verdicts go to `ledger`, for the record.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        synthetic: bool,
        note: Callable[[str, Any], object] | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._publisher = publisher
        self._note = note
        self._ledger = ledger
        self._case_id = self._specimen_id = ""
        self._synthetic = synthetic
        self._next_map_s = 0.0
        self.latency = LatencyHistogram()
        self.alines_judged = 0
        self._kernels_ns = 0

    def turn_to(self, case_id: str, specimen_id: str) -> None:
        """What comes from now on is of this specimen; while nothing is scanned."""
        self._case_id, self._specimen_id = case_id, specimen_id

    def begin(self, book: SweepBook) -> None:
        """A sweep over a face begins."""
        if self._ledger is not None:
            self._ledger.sweep_begins(book, self._case_id, self._specimen_id)

    def take(self, book: SweepBook, judged: Judged) -> None:
        """A frame was judged: into the book, and its flags onto the bus."""
        book.take(judged)
        self.alines_judged += judged.header.alines
        self._kernels_ns += judged.reconstruct_ns + judged.assess_ns
        message = self._flag_message(book, judged)
        self._publisher.publish_flag(message)
        if self._note is not None:
            self._note("flags", LoggedFlags.of(message, judged.header, judged.flags))
        self.latency.add((time.time_ns() - judged.header.received_at_ns) / 1e6)
        self._say_map_now_and_then(book)

    def lose(self, book: SweepBook, lost: LostFrames) -> None:
        """Frames were lost: into the book; the map shows the hole."""
        book.lose(lost)
        if self._note is not None:
            of_loss = {"first_sequence": lost.first_sequence, "count": lost.count, "cause": lost.cause.value}
            self._note("lost", {"face": book.plan.face, **of_loss, "detail": lost.detail})
        self._say_map_now_and_then(book)

    def kernels_us_per_aline(self) -> float:
        """Mean time of reconstruction and assessment per A-line since the start, µs."""
        return round(self._kernels_ns / 1000 / max(self.alines_judged, 1), 2)

    def say(self, book: SweepBook) -> Verdict:
        """Say map and verdict as they stand."""
        verdict = book.verdict()
        acquired_at = utc_from_ns(book.newest_received_at_ns)
        face_map = self._map_message(book, acquired_at)
        self._publisher.publish_map(face_map)
        message = self._verdict_message(book, verdict, acquired_at)
        self._publisher.publish_verdict(message)
        if self._note is not None and not message.provisional:
            self._note("map", LoggedMap.of(face_map))
            self._note("verdict", LoggedVerdict.of(message))
        if self._ledger is not None and not message.provisional:
            self._ledger.sweep_ends(book, face_map, message)
        self._next_map_s = time.monotonic() + MAP_INTERVAL_S
        return verdict

    def _say_map_now_and_then(self, book: SweepBook) -> None:
        if time.monotonic() >= self._next_map_s:
            self.say(book)

    def _flag_message(self, book: SweepBook, judged: Judged) -> FlagMessage:
        header, flags = judged.header, judged.flags
        return FlagMessage(
            acquired_at=utc_from_ns(header.received_at_ns),
            synthetic=self._synthetic,
            case_id=self._case_id,
            specimen_id=self._specimen_id,
            face=book.plan.face,
            sweep=book.number,
            frame_index=header.index,
            frame_sequence=header.sequence,
            received_at_ns=header.received_at_ns,
            state=[BlockState(int(state)) for state in flags.state],
            suspicion=rounded(flags.suspicion, 3),
            distance_mm=rounded(flags.distance_mm, 3),
            visualised_depth_mm=rounded(flags.visualised_depth_mm, 2),
            quality=flags.quality.tolist(),
        )

    def _map_message(self, book: SweepBook, acquired_at: datetime) -> MapMessage:
        state = book.state
        return MapMessage(
            acquired_at=acquired_at,
            synthetic=self._synthetic,
            case_id=self._case_id,
            specimen_id=self._specimen_id,
            face=book.plan.face,
            sweep=book.number,
            frames=state.shape[0],
            blocks=state.shape[1],
            grid=grid_letters(state),
            counts=count_states(state),
        )

    def _verdict_message(self, book: SweepBook, verdict: Verdict, acquired_at: datetime) -> VerdictMessage:
        return VerdictMessage(
            acquired_at=acquired_at,
            synthetic=self._synthetic,
            case_id=self._case_id,
            specimen_id=self._specimen_id,
            face=book.plan.face,
            sweep=book.number,
            verdict=verdict.outcome.value,
            provisional=not book.is_closed,
            coverage=round(verdict.coverage, 4),
            visualised_depth_mm=_or_none(verdict.visualised_depth_mm),
            distance_mm=_or_none(verdict.nearest_distance_mm),
            clusters=len(verdict.clusters),
            counts=count_states(book.state),
            reasons=list(verdict.reasons),
            key_views=key_views(verdict.clusters),
        )


def key_views(clusters: Iterable[Cluster]) -> list[KeyView]:
    """Where to look first: by evidence, then by size; no more than `MOST_KEY_VIEWS`."""
    ordered = sorted(clusters, key=lambda cluster: (-cluster.evidence, -cluster.blocks))
    return [
        KeyView(
            number=number,
            first_frame=cluster.first_frame,
            last_frame=cluster.last_frame,
            first_block=cluster.first_block,
            last_block=cluster.last_block,
            frame=cluster.peak_frame,
            block=cluster.peak_block,
            evidence=round(cluster.evidence, 3),
            distance_mm=_or_none(cluster.nearest_distance_mm),
            blocks=cluster.blocks,
        )
        for number, cluster in enumerate(ordered[:MOST_KEY_VIEWS], start=1)
    ]


def _or_none(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None
