"""What every renderer needs of a document in plain values: the coding sheet in words, the legend of the map."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any

import msgspec

from octmargin.frames import BlockState
from octmargin.pictures import swatch_image
from octmargin.report.coding import CodeRow, CodingSheet, DiagnosisCheck
from octmargin.report.coding.sheet import SYNTHETIC_NOTICE
from octmargin.report.coding.site import NOT_AVAILABLE
from octmargin.report.document import Picture, ReportDocument

LEGEND = {
    BlockState.SUSPICIOUS: "suspicious",
    BlockState.NOTHING_SUSPICIOUS: "nothing suspicious",
    BlockState.POOR: "poor",
    BlockState.LOST: "lost",
    BlockState.NOT_SCANNED: "not scanned",
}


LONG_CHARACTERS = 1500
"""Of a face's remarks: from here on they are let break over pages."""


def plain(document: ReportDocument) -> dict[str, Any]:
    """The document as plain values, with the coding sheet in words; pictures by name, without their bytes."""
    values: dict[str, Any] = msgspec.to_builtins(document, builtin_types=(bytes,))
    for face in values["faces"]:
        for holder in (face, *face["key_views"]):
            for key in ("map", "enface", "picture"):
                if holder.get(key) is not None:
                    del holder[key]["data"]
        # What does not fit on a page must break; what does looks better in one piece.
        face["long"] = sum(map(len, (*face["remarks"], *face["reasons"], face["action"]))) > LONG_CHARACTERS
    values["coding"] = _sheet(document.coding)
    return values


@cache
def swatches() -> dict[BlockState, Picture]:
    """A block of each state, for the legend of the map."""
    found = {}
    for state, word in LEGEND.items():
        data = BytesIO()
        image = swatch_image(state)
        image.save(data, "PNG")
        found[state] = Picture(
            name=f"swatch-{word.replace(' ', '-')}",
            kind="png",
            data=data.getvalue(),
            width_px=image.width,
            height_px=image.height,
            alt=word,
        )
    return found


def _sheet(sheet: CodingSheet) -> dict[str, Any]:
    return {
        "notice": sheet.notice,
        "synthetic_notice": SYNTHETIC_NOTICE if sheet.synthetic else "",
        "head": [
            _field("Case", sheet.case_id),
            _field("Accession", sheet.accession or NOT_AVAILABLE),
            _field("Specimen", f"{sheet.specimen_id}, {sheet.kind}, {sheet.laterality}"),
            _field("Date of service", str(sheet.date_of_service or NOT_AVAILABLE)),
            _field("Site of service", sheet.site_of_service or NOT_AVAILABLE),
        ],
        "suggestions": [
            {
                "code": one.code,
                "modifiers": ", ".join(one.modifiers) or "–",
                "units": str(one.units),
                "state": one.state,
                "meaning": one.meaning,
                "reasons": [*one.reasons, sheet.dates[one.code]],
            }
            for one in sheet.suggestions
        ],
        "warnings": list(sheet.warnings),
        "diagnoses": [_diagnosis(one) for one in sheet.diagnoses],
        "providers": [
            {"name": one.name, "role": one.role, "taxonomy": one.taxonomy.shown} for one in sheet.providers
        ],
        "coverage_note": sheet.coverage_note,
        "payers": [{"name": one.name, "coverage": one.shown_coverage} for one in sheet.payers],
        "sites": [{"name": one.name, "code": one.shown_code} for one in sheet.sites_of_service],
        "others": [_other(row) for rows in sheet.others.values() for row in rows],
        "sets": "; ".join(f"{name}: {what}" for name, what in sheet.sets.items()),
    }


def _field(label: str, value: str) -> dict[str, Any]:
    return {"label": label, "value": value, "alert": False}


def _diagnosis(one: DiagnosisCheck) -> dict[str, Any]:
    offered = ", ".join(f"{code.code} ({code.title})" for code in one.offered)
    reasons = [*one.reasons, *([f"offered instead: {offered}"] if offered else [])]
    return {"code": one.code, "state": one.state, "title": one.title or "no such code", "reasons": reasons}


def _other(row: CodeRow) -> dict[str, Any]:
    return {
        "code": row.code,
        "official": row.official,
        "note": row.explanation,
        "source": row.source or "–",
        "differs": row.conflict.is_warning,
    }
