"""The report as PDF, set by typst: tagged (PDF/UA-1), archivable (PDF/A-2a), every font embedded.

Nothing is written to a disk on the way: a report names a patient.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec
import typst

from octmargin.errors import OctMarginError
from octmargin.report.document import Picture, ReportDocument
from octmargin.report.printed import LEGEND, plain, swatches
from octmargin.report.wording import code_point

Paper = Literal["a4", "us-letter"]
STANDARDS: list[Any] = ["ua-1", "a-2a"]
FONTS = ("Libertinus Serif", "DejaVu Sans Mono")
"""Come with typst. Where the system has more, they are used for what these do not have."""
_UNSHOWN = re.compile(r"the text `\"(.+?)\"` could not be displayed", re.DOTALL)
_ATTEMPTS = 8


class RenderingError(OctMarginError):
    """A report could not be set."""


def render_pdf(document: ReportDocument, *, paper: Paper = "a4", now: datetime | None = None) -> bytes:
    """Set a report on A4 or US letter; `now` is written into the PDF as the time at which it was made.

    Characters that no font has are written out by their number. RenderingError where typst cannot set it.
    """
    values = plain(document) | {
        "paper": paper,
        "fonts": list(FONTS),
        "document_title": f"{document.title}, {document.subject}",
        "legend": [{"file": _svg_name(swatches()[state]), "label": word} for state, word in LEGEND.items()],
    }
    _name_pictures(values)
    pictures = (*document.pictures, *swatches().values())
    common = {_svg_name(picture): _as_svg(picture) for picture in pictures} | {"main.typ": _template()}
    # A PDF's times are whole seconds.
    return _set(values, common, (now or datetime.now(UTC)).replace(microsecond=0))


def _set(values: dict[str, Any], common: dict[str, bytes], now: datetime) -> bytes:
    """With the fonts of typst; with those of the system for what these lack; at last without what none has."""
    unshown: set[str] = set()
    has_system_fonts = False
    for _ in range(_ATTEMPTS):
        shown = _without(values, unshown)
        try:
            compiler = typst.Compiler(
                _files(common | {"data.json": msgspec.json.encode(shown)}),
                ignore_system_fonts=not has_system_fonts,
            )
            pdf = compiler.compile(format="pdf", pdf_standards=STANDARDS, timestamp=now)
        except typst.TypstError as error:
            lacking = _lacking(error, shown)
            if not lacking:
                raise RenderingError(f"the report cannot be set: {error.message}; report this") from error
            if has_system_fonts:
                unshown |= lacking
            has_system_fonts = True
            continue
        assert isinstance(pdf, bytes)  # noqa: S101 - PDF is one file
        return pdf
    raise RenderingError("the report cannot be set: its fonts lack too many characters; install more fonts")


def _lacking(error: typst.TypstError, shown: Any) -> set[str]:
    """The characters that are to blame where typst could not show some text; none where it failed otherwise."""
    texts = _UNSHOWN.findall(str(error.diagnostic))
    found = set("".join(texts))
    if marks := {one for one in found if _is_mark(one)}:
        return marks
    if beyond := {one for one in found if not one.isascii()}:
        return beyond
    # Typst names the letter alone where the mark on it is what the font lacks.
    return {one for one in _characters(shown) if _is_mark(one)} if texts else set()


def _is_mark(character: str) -> bool:
    """Whether it stands on another character, or only directs how others are set."""
    return unicodedata.category(character)[0] == "M" or unicodedata.category(character) == "Cf"


def _characters(value: Any) -> set[str]:
    if isinstance(value, str):
        return set(value)
    if isinstance(value, dict):
        value = list(value.values())
    return set().union(*map(_characters, value)) if isinstance(value, list | tuple) else set()


def _files(files_: dict[str, bytes]) -> Any:
    # It takes a folder of files in memory, which its stub does not know.
    return files_


def _without(value: Any, unshown: set[str]) -> Any:
    if not unshown:
        return value
    if isinstance(value, str):
        return "".join(code_point(one) if one in unshown else one for one in value)
    if isinstance(value, dict):
        return {key: _without(inner, unshown) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without(inner, unshown) for inner in value]
    return value


def _name_pictures(values: dict[str, Any]) -> None:
    """Where typst finds each picture."""
    for face in values["faces"]:
        for holder in (face, *face["key_views"]):
            for key in ("map", "enface", "picture"):
                if holder.get(key) is not None:
                    holder[key]["file"] = f"{holder[key]['name']}.svg"


def _svg_name(picture: Picture) -> str:
    return f"{picture.name}.svg"


def _as_svg(picture: Picture) -> bytes:
    """A picture within an SVG: files that are handed over in memory must be text."""
    content = base64.b64encode(picture.data).decode()
    size = f'width="{picture.width_px}" height="{picture.height_px}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}><image {size} '
        f'href="data:image/{picture.kind};base64,{content}"/></svg>'
    ).encode()


@cache
def _template() -> bytes:
    return (files("octmargin.report") / "templates" / "report.typ").read_bytes()
