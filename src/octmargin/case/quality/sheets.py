"""The rows and measures of a period as CSV, and as a page that needs nothing from elsewhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from octmargin import __version__
from octmargin.case.quality.faces import FaceRow, SpecimenRow
from octmargin.case.quality.measures import Quality, Share
from octmargin.words import NOTICE, spreadsheet_text

_TEMPLATE: Final = "quality.html.j2"
_MEASURES: Final = ("of", "measure", "says", "k", "n", "value", "low", "high", "synthetic")


def faces_csv(rows: Iterable[SpecimenRow]) -> str:
    """One line per planned face, without who the patient is."""
    names = FaceRow.__struct_fields__
    return _csv(names, ([getattr(face, name) for name in names] for row in rows for face in row.faces))


def measures_csv(quality: Quality) -> str:
    """One line per measure: shares with their intervals, spreads as median and quartiles."""
    lines: list[list[Any]] = []
    for of, shares in _shares(quality):
        lines += [[of, one.name, one.says, one.k, one.n, one.value, one.low, one.high] for one in shares]
    lines += [
        [
            "spread",
            f"{one.name}, {one.unit}",
            f"median and quartiles {one.says}",
            None,
            one.n,
            one.median,
            one.lower_quartile,
            one.upper_quartile,
        ]
        for one in quality.spreads
    ]
    return _csv(_MEASURES, ([*line, quality.synthetic] for line in lines))


def page(quality: Quality, made_at: datetime) -> str:
    """The dashboard as HTML."""
    environment = Environment(
        loader=PackageLoader("octmargin.case.quality"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(
        quality=quality,
        groups=_shares(quality),
        made_at=made_at.astimezone(),
        notice=NOTICE,
        version=__version__,
    )


def _shares(quality: Quality) -> Sequence[tuple[str, tuple[Share, ...]]]:
    return (
        ("algorithm against pathology", quality.algorithm),
        ("interpreter against pathology", quality.interpreter),
        ("course", quality.course),
    )


def _csv(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in line] for line in lines)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, float):
        text = f"{value:.6g}"
    return spreadsheet_text(text) if isinstance(value, str) else text
