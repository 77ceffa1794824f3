"""The flags of one session of a daemon as a subscriber got them: counted, with gaps, repetitions and latency."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil

from octmargin.bus.messages import FlagMessage, LatencyMs

_LATENCY_SAMPLES = 10_000
_RATE_WINDOW_S = 2.0
_GAP_MEMORY = 10_000


@dataclass(slots=True)
class FlagStream:
    """The flags of one session of the daemon, as they arrived."""

    messages: int = 0
    """Distinct flag messages, one per frame."""
    blocks: int = 0
    """Flags of blocks in them."""
    duplicates: int = 0
    """Messages that came again, as QoS 1 allows."""
    _highest: int = -1
    _missing: dict[int, None] = field(default_factory=dict)
    _forgotten: int = 0
    _latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCY_SAMPLES))
    _recent: deque[tuple[int, int]] = field(default_factory=deque)

    @property
    def gaps(self) -> int:
        """Sequence numbers that were passed over and never came."""
        return len(self._missing) + self._forgotten

    def add(self, flag: FlagMessage, received_at_ns: int) -> None:
        """Count a flag message."""
        if not self._is_new(flag.sequence):
            self.duplicates += 1
            return
        self.messages += 1
        self.blocks += len(flag.state)
        self._latencies_ms.append((received_at_ns - flag.received_at_ns) / 1e6)
        self._recent.append((received_at_ns, len(flag.state)))
        while self._recent[0][0] < received_at_ns - _RATE_WINDOW_S * 1e9:
            self._recent.popleft()

    def latency_ms(self) -> LatencyMs | None:
        """Time from a frame's last byte at the daemon to its flags here, over the last 10 000 messages.

        Wall clocks of two machines are compared as if they were one. Quantiles are exact, by nearest
        rank. None where there was no message.
        """
        if not self._latencies_ms:
            return None
        ordered = sorted(self._latencies_ms)
        p50, p99 = (ordered[ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
        return LatencyMs(p50=p50, p99=p99)

    def rate_blocks_per_s(self, now_ns: int) -> float:
        """Count flags of blocks per second over the last 2 s."""
        since_ns = now_ns - _RATE_WINDOW_S * 1e9
        return sum(blocks for at_ns, blocks in self._recent if at_ns > since_ns) / _RATE_WINDOW_S

    def _is_new(self, sequence: int) -> bool:
        if self._highest < 0:
            self._highest = sequence
            return True
        if sequence > self._highest:
            self._note_gap(self._highest + 1, sequence)
            self._highest = sequence
            return True
        if sequence in self._missing:
            del self._missing[sequence]
            return True
        return False

    def _note_gap(self, first: int, end: int) -> None:
        remembered_from = max(first, end - _GAP_MEMORY)
        self._forgotten += remembered_from - first
        self._missing.update(dict.fromkeys(range(remembered_from, end)))
        while len(self._missing) > _GAP_MEMORY:
            del self._missing[next(iter(self._missing))]
            self._forgotten += 1
