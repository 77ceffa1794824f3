"""The report as one HTML file that needs nothing else: pictures are within it, and it prints as it should."""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined

from octmargin.report.document import Picture, ReportDocument
from octmargin.report.printed import LEGEND, plain, swatches

_TEMPLATE = "report.html.j2"


def render_html(document: ReportDocument) -> str:
    """Fill the page."""
    environment = Environment(
        loader=PackageLoader("octmargin.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(
        d=plain(document),
        sources={picture.name: _source(picture) for picture in document.pictures},
        legend=[{"source": _source(swatches()[state]), "label": word} for state, word in LEGEND.items()],
    )


def _source(picture: Picture) -> str:
    return f"data:image/{picture.kind};base64,{base64.b64encode(picture.data).decode()}"
