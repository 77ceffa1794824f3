"""One example of every message, to be varied."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from octmargin.bus.decisions import Decision, DecisionMessage, Mark
from octmargin.bus.messages import (
    Alarm,
    CalibrationDescription,
    CaseMessage,
    ConsoleDescription,
    Description,
    FlagCounts,
    FlagMessage,
    FrameCounts,
    Health,
    KeyView,
    LatencyMs,
    MapMessage,
    Message,
    ModelDescription,
    QueueCounts,
    RecordingCounts,
    ScanDescription,
    Specimen,
    StateCounts,
    VerdictMessage,
)
from octmargin.bus.topics import Kind
from octmargin.frames import BlockState

NOON = datetime(2031, 5, 6, 12, 0, 0, 250_000, tzinfo=UTC)
COMMON: dict[str, Any] = {"acquired_at": NOON, "synthetic": True}
WHERE: dict[str, Any] = {"case_id": "C-7", "specimen_id": "S-1", "face": "superior", "sweep": 3}


def flag(frame: int = 0, blocks: int = 4, **changes: Any) -> FlagMessage:
    states = [BlockState(3 if block else 4) for block in range(blocks)]
    fields: dict[str, Any] = {
        "frame_index": frame,
        "frame_sequence": frame,
        "received_at_ns": int(NOON.timestamp() * 1e9),
        "state": states,
        "suspicion": [0.912] + [0.034] * (blocks - 1),
        "distance_mm": [0.105] + [None] * (blocks - 1),
        "visualised_depth_mm": [1.12] * blocks,
        "quality": [0] * blocks,
    }
    return FlagMessage(**(COMMON | WHERE | fields | changes))


def face_map(face: str = "superior", **changes: Any) -> MapMessage:
    fields: dict[str, Any] = {
        "face": face,
        "frames": 3,
        "blocks": 4,
        "grid": ["SNNN", "NPLN", "...."],
        "counts": StateCounts(not_scanned=4, lost=1, poor=1, nothing_suspicious=5, suspicious=1),
    }
    return MapMessage(**(COMMON | WHERE | fields | changes))


def verdict(face: str = "superior", word: str = "suspicious", **changes: Any) -> VerdictMessage:
    fields: dict[str, Any] = {
        "face": face,
        "verdict": word,
        "provisional": False,
        "coverage": 0.5,
        "visualised_depth_mm": 1.08,
        "distance_mm": 0.105 if word == "suspicious" else None,
        "clusters": int(word == "suspicious"),
        "counts": StateCounts(not_scanned=4, lost=1, poor=1, nothing_suspicious=5, suspicious=1),
        "reasons": ["1 cluster of suspicious blocks, nearest 0.105 mm below the surface"],
        "key_views": [key_view()] if word == "suspicious" else [],
    }
    return VerdictMessage(**(COMMON | WHERE | fields | changes))


def key_view(**changes: Any) -> KeyView:
    fields: dict[str, Any] = {
        "number": 1,
        "first_frame": 0,
        "last_frame": 0,
        "first_block": 0,
        "last_block": 0,
        "frame": 0,
        "block": 0,
        "evidence": 0.912,
        "distance_mm": 0.105,
        "blocks": 1,
    }
    return KeyView(**(fields | changes))


def decision(face: str = "superior", **changes: Any) -> DecisionMessage:
    rita: dict[str, Any] = {"by": "rita", "role": "reader", "at": NOON, "sweep": 3}
    fields: dict[str, Any] = {
        "face": face,
        "decisions": [
            Decision(id="d-1", subject="face", word="agree", **rita),
            Decision(id="d-2", subject="cluster", cluster=1, word="disagree", note="cautery", **rita),
        ],
        "marks": [
            Mark(
                id="m-1", first_frame=0, last_frame=1, first_block=0, last_block=2, note="look again", **rita
            )
        ],
    }
    where = {"case_id": "C-7", "specimen_id": "S-1"}
    return DecisionMessage(**(COMMON | where | fields | changes))


def description(instance_id: str = "5f0c8a1be2d94c37", **changes: Any) -> Description:
    fields: dict[str, Any] = {
        "instance_id": instance_id,
        "software_version": "0.1.0",
        "model": ModelDescription(name="texture-forest", version="1"),
        "calibration": CalibrationDescription(id="factory-2031-05", hash="sha256:9f2c"),
        "configuration_hash": "sha256:41aa",
        "console": ConsoleDescription(
            simulated=False,
            maker="Octmargin",
            model="SIM-1",
            serial="0007",
            firmware="1.0",
            driver="usb",
            address="usbip:0",
        ),
        "scan": ScanDescription(
            samples=2048,
            alines=512,
            frames=128,
            width_mm=10.0,
            height_mm=10.0,
            line_rate_hz=100_000.0,
            alines_per_block=16,
        ),
        "policy": {"name": "invasive", "margin_mm": 0.0, "coverage": 0.9},
        "axial_um": 3.5,
        "depth": 640,
        "display_url": "https://or-3.example:8350/",
    }
    return Description(**(COMMON | fields | changes))


def case(**changes: Any) -> CaseMessage:
    fields: dict[str, Any] = {
        "case_id": "C-7",
        "specimen_id": "S-1",
        "specimen": Specimen(
            kind="lumpectomy", laterality="left", orientation="short superior, long lateral", label="main"
        ),
        "faces": ["superior", "inferior"],
        "phase": "scanning",
        "face": "superior",
        "sweeps": {"superior": 3},
        "ink": {"superior": "red", "inferior": "blue"},
        "sutures": "short superior, long lateral",
    }
    return CaseMessage(**(COMMON | fields | changes))


def health(**changes: Any) -> Health:
    fields: dict[str, Any] = {
        "state": "ready",
        "frames": FrameCounts(
            sent=130, received=128, processed=127, lost=3, lost_by_reason={"damaged on the wire": 3}
        ),
        "flags": FlagCounts(published=4064, messages=127),
        "queue": QueueCounts(waiting=0, dropped=0, coalesced=2),
        "rate_alines_per_s": 65_024.0,
        "latency_ms": LatencyMs(p50=3.2, p99=11.5),
        "reconnects": 0,
        "over_budget": 0.02,
        "recording": RecordingCounts(frames=126, missed=1),
        "uptime_s": 12.5,
        "lifecycle": "degraded",
        "reasons": ["broker gone: connection refused"],
    }
    return Health(**(COMMON | fields | changes))


def alarm(alarm_id: str = "console-lost", **changes: Any) -> Alarm:
    fields: dict[str, Any] = {
        "id": alarm_id,
        "priority": "medium",
        "text": "the console does not answer",
        "remedy": "check its cable",
        "active": True,
    }
    return Alarm(**(COMMON | fields | changes))


ONE_OF_EACH: dict[Kind, Message] = {
    Kind.DESCRIPTION: description(),
    Kind.CASE: case(),
    Kind.FLAG: flag(),
    Kind.MAP: face_map(),
    Kind.VERDICT: verdict(),
    Kind.DECISION: decision(),
    Kind.HEALTH: health(),
    Kind.ALARM: alarm(),
}
