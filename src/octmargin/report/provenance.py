"""What a report rests on: versions of everything that judged, and the place of the case in its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from octmargin import __version__
from octmargin.case.record.model import CaseSnapshot, SpecimenRecord, Versions
from octmargin.report.coding import CodingSheet
from octmargin.report.document import Field, VersionSet
from octmargin.report.wording import NOT_RECORDED, listed


def version_sets(specimen: SpecimenRecord) -> Iterator[VersionSet]:
    """Each set of versions once, with the sweeps that it judged."""
    by_versions: dict[str, tuple[Versions, list[str]]] = {}
    for sweep in specimen.sweeps:
        _, sweeps = by_versions.setdefault(repr(sweep.versions), (sweep.versions, []))
        sweeps.append(f"{sweep.face} (sweep {sweep.sweep})")
    for versions, sweeps in by_versions.values():
        yield VersionSet(of=listed(sweeps), fields=tuple(_fields(versions)))


def _fields(versions: Versions) -> Iterator[Field]:
    yield Field(
        label="Software", value=f"octmargin {versions.software}" if versions.software else NOT_RECORDED
    )
    model = " ".join(filter(None, (versions.model, versions.model_version)))
    yield Field(label="Model", value=_with_hash(model, versions.model_hash))
    yield Field(label="Calibration", value=_with_hash(versions.calibration, versions.calibration_hash))
    yield Field(label="Configuration", value=versions.configuration_hash or NOT_RECORDED)
    console = " ".join(filter(None, (versions.console_maker, versions.console_model)))
    serial = f"serial {versions.console_serial}" if versions.console_serial else ""
    firmware = f"firmware {versions.console_firmware}" if versions.console_firmware else ""
    yield Field(label="Console", value=", ".join(filter(None, (console, serial, firmware))) or NOT_RECORDED)
    if versions.console_source:
        yield Field(
            label="Simulated", value=f"a simulated console showed: {versions.console_source}", alert=True
        )


def _with_hash(name: str, hash_: str) -> str:
    return " · ".join(filter(None, (name, hash_))) or NOT_RECORDED


def record_fields(
    snapshot: CaseSnapshot, specimen: SpecimenRecord, coding: CodingSheet, source: str
) -> Iterator[Field]:
    """Where the case stands in the log, as `octmargin case verify --head` takes it: SEQ:HASH."""
    yield Field(label="Head", value=f"{snapshot.log_seq}:{snapshot.log_head}")
    if specimen.signature is not None:
        signature = specimen.signature
        yield Field(label="Signed on", value=f"{signature.log_seq}:{signature.log_head}")
    yield Field(label="Made from", value=source)
    # By its own name: where it lies on this machine is nobody's business who reads the report.
    recordings = list(
        dict.fromkeys(PurePath(sweep.recording).name for sweep in specimen.sweeps if sweep.recording)
    )
    yield Field(label="Recordings", value=", ".join(recordings) or "none were kept")
    yield Field(label="Report", value=f"octmargin {__version__}")
    yield Field(label="Diagnoses", value=coding.sets["diagnoses checked in"])
