"""Prometheus metrics: what health says, and the latency histogram, over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from octmargin.bus import Description, Health
from octmargin.errors import ConfigError
from octmargin.lifecycle import Lifecycle

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class MetricsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where metrics are served; port 0 takes any free one."""

    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9464


@dataclass(frozen=True, slots=True)
class Latencies:
    """Durations from a frame's last byte to its flags at the way out: how many were at most so long, and their sum."""

    at_most: dict[float, int]
    """Counts by upper edge, s; the last edge is infinite."""
    total_s: float


class MetricsPage(Collector):
    """Serves the newest of what `update` was given; a scrape never touches the event loop."""

    def __init__(self) -> None:
        self._newest: tuple[Health, Latencies, Description | None] | None = None

    def update(self, health: Health, latencies: Latencies, description: Description | None) -> None:
        """Replace what is served."""
        self._newest = health, latencies, description

    def collect(self) -> Iterable[Metric]:
        """Yield the families; nothing before the first update. Called from the server's thread."""
        newest = self._newest
        if newest is None:
            return
        health, latencies, description = newest
        yield from _frames(health)
        yield from _recording(health)
        yield from _bus(health)
        yield _latency(latencies)
        over = GaugeMetricFamily(
            "octmargin_over_budget_ratio", "Share of frames whose flags took longer than a frame lasts."
        )
        if health.over_budget is not None:
            over.add_metric([], health.over_budget)
        yield over
        yield StateSetMetricFamily(
            "octmargin_lifecycle",
            "What the daemon is at.",
            {state.value: state.value == health.lifecycle for state in Lifecycle},
        )
        yield GaugeMetricFamily("octmargin_uptime_seconds", "Since the start.", health.uptime_s)
        if description is not None:
            yield _about(description)


def _frames(health: Health) -> Iterator[Metric]:
    frames = health.frames
    yield CounterMetricFamily("octmargin_frames_numbered", "Frames that the console numbered.", frames.sent)
    yield CounterMetricFamily("octmargin_frames_processed", "Frames that were judged.", frames.processed)
    lost = CounterMetricFamily("octmargin_frames_lost", "Frames that never will be.", labels=["cause"])
    for cause, count in frames.lost_by_reason.items():
        lost.add_metric([cause], count)
    yield lost
    yield GaugeMetricFamily(
        "octmargin_alines_per_second", "A-lines judged per second of scanning.", health.rate_alines_per_s
    )


def _recording(health: Health) -> Iterator[Metric]:
    if health.recording is None:
        return
    yield CounterMetricFamily("octmargin_frames_recorded", "Raw frames on disk.", health.recording.frames)
    yield CounterMetricFamily(
        "octmargin_frames_unrecorded", "Raw frames that came and were not written.", health.recording.missed
    )


def _bus(health: Health) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "octmargin_flags_published", "Block flags that the broker acknowledged.", health.flags.published
    )
    yield GaugeMetricFamily(
        "octmargin_queue_waiting", "Messages that wait for the broker.", health.queue.waiting
    )
    yield CounterMetricFamily(
        "octmargin_queue_dropped", "Flag messages given up because too many waited.", health.queue.dropped
    )
    yield CounterMetricFamily(
        "octmargin_refused_messages", "Messages that the broker will never take.", health.queue.refused
    )
    yield CounterMetricFamily(
        "octmargin_late_messages", "Flags and verdicts of earlier runs that arrived now.", health.queue.late
    )
    yield CounterMetricFamily(
        "octmargin_reconnects", "Connections to the broker that were made anew.", health.reconnects
    )


def _latency(latencies: Latencies) -> Metric:
    buckets = [
        ("+Inf" if edge == float("inf") else str(edge), count) for edge, count in latencies.at_most.items()
    ]
    return HistogramMetricFamily(
        "octmargin_latency_seconds",
        "From a frame's last byte to its flags at the way out.",
        buckets=buckets,
        sum_value=latencies.total_s,
    )


def _about(description: Description) -> Metric:
    model, console = description.model, description.console
    about = {
        "software": description.software_version,
        "model": model.name,
        "model_version": model.version,
        "console": console.model,
        "console_serial": console.serial,
        "firmware": console.firmware,
        "configuration": description.configuration_hash,
        "synthetic": "yes" if description.synthetic else "no",
        "notice": description.notice,
    }
    return InfoMetricFamily("octmargin", "Who publishes. Research use only.", value=about)


@contextlib.contextmanager
def serving(page: MetricsPage, section: MetricsSection) -> Iterator[int]:
    """Serve `page` while entered; gives the port. ConfigError where the address cannot be listened on."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(page)
    try:
        server, thread = start_http_server(section.port, section.host, registry)
    except OSError as error:
        raise ConfigError(
            f"metrics: {section.host}:{section.port} cannot be listened on: {error.strerror or error}; "
            "set metrics.host and metrics.port"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
