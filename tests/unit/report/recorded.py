"""Sweeps as the record has them, of a recording that a daemon made: what was said live comes out of its log."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

from octmargin.archive import Recording
from octmargin.assessment import FaceAssessor
from octmargin.bus import grid_letters
from octmargin.case.record.model import KeyView, StateCounts, SweepRecord, Versions
from octmargin.said import read_then
from octmargin.startup import engine_settings


def sweeps_of(path: Path) -> tuple[SweepRecord, ...]:
    """One per face of the recording, with its map and key views."""
    recording = Recording.open(path)
    then = read_then(recording)
    description = then.description
    sweeps = []
    for face in recording.faces:
        plan = recording.plan(face)
        assert recording.calibration is not None
        assert recording.axial_um is not None
        settings = engine_settings(then.judging, then.engine, plan, recording.calibration, recording.axial_um)
        assessed = FaceAssessor(recording, settings, then.judging.policy, threads=2).assess(face)
        counts = {state.name.lower(): count for state, count in assessed.verdict.counts.items()}
        number = next(frame.sweep for (name, _), frame in then.frames.items() if name == face)
        assert number is not None
        started = datetime(2026, 11, 12, 9, 30, tzinfo=UTC) + timedelta(minutes=number)
        sweeps.append(
            SweepRecord(
                session=description.instance_id,
                sweep=number,
                face=face,
                started_at=started,
                ended_at=started + timedelta(seconds=38),
                verdict=assessed.verdict.outcome.value,
                provisional=False,
                coverage=assessed.verdict.coverage,
                visualised_depth_mm=assessed.verdict.visualised_depth_mm,
                distance_mm=known(assessed.verdict.nearest_distance_mm),
                clusters=len(assessed.findings),
                counts=StateCounts(**counts),
                frames=plan.frames,
                lost_frames=sum(assessed.lost.values()),
                lost_by_cause={"never arrived": lost} if (lost := sum(assessed.lost.values())) else {},
                reasons=assessed.verdict.reasons,
                key_views=tuple(
                    KeyView(
                        number=finding.number,
                        first_frame=finding.cluster.first_frame,
                        last_frame=finding.cluster.last_frame,
                        first_block=finding.cluster.first_block,
                        last_block=finding.cluster.last_block,
                        frame=finding.frame,
                        block=finding.cluster.first_block,
                        evidence=min(finding.cluster.evidence, 1.0),
                        distance_mm=known(finding.cluster.nearest_distance_mm),
                        blocks=finding.cluster.blocks,
                    )
                    for finding in assessed.findings
                ),
                grid=tuple(grid_letters(assessed.state)),
                width_mm=plan.width_mm,
                height_mm=plan.height_mm,
                recording=str(path),
                recording_log_sha256=recording.log_sha256 or "",
                synthetic=recording.synthetic,
                versions=Versions(
                    software=description.software_version,
                    model=description.model.name,
                    model_version=description.model.version,
                    model_hash=description.model.hash,
                    calibration_hash=description.calibration.hash,
                    configuration_hash=description.configuration_hash,
                    console_maker=description.console.maker,
                    console_model=description.console.model,
                    console_serial=description.console.serial,
                    console_firmware=description.console.firmware,
                    console_source=description.console.source,
                ),
            )
        )
    return tuple(sweeps)


def known(value: float) -> float | None:
    return None if math.isnan(value) else value
