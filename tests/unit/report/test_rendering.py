"""A report is set on paper, as a page and as text; whatever people wrote into it does not break it."""

from __future__ import annotations

import ctypes
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import msgspec
import pypdfium2
import pypdfium2.raw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.report.cases import (
    SUSPICIOUS,
    amended_specimen,
    case,
    interpretation,
    key_view,
    signed_specimen,
    specimen,
    sweep,
    synthetic,
)

from octmargin.case.record.model import FaceFinding, PatientIdentity, PersonName, SpecimenRecord
from octmargin.errors import InputError
from octmargin.report.attached import check_attached
from octmargin.report.building import build_report
from octmargin.report.document import ReportDocument
from octmargin.report.html import render_html
from octmargin.report.pdf import Paper, render_pdf
from octmargin.report.pictures import draw_pictures
from octmargin.report.text import COLUMNS, render_text, wrapped

NOW = datetime(2026, 11, 12, 10, 5, 7, 123456, tzinfo=UTC)
LOREM = "The margin was looked at anew from the other side, with the same result. "


def report(one: SpecimenRecord, **values: Any) -> ReportDocument:
    pictures = draw_pictures(one, key_views=3, from_recordings=False)
    return build_report(case(one, **values), one.specimen_id, pictures=pictures, now=NOW)


@contextmanager
def opened(pdf: bytes) -> Iterator[pypdfium2.PdfDocument]:
    document = pypdfium2.PdfDocument(pdf)
    try:
        yield document
    finally:
        document.close()


def pages(pdf: bytes) -> list[str]:
    """The text of each page, its lines joined."""
    with opened(pdf) as document:
        texts = []
        for index in range(len(document)):
            page = document[index]
            text = page.get_textpage()
            texts.append(" ".join(text.get_text_range().replace("\u00ad", "").split()))
            text.close()
            page.close()
        return texts


def fonts_embedded(document: pypdfium2.PdfDocument) -> set[bool]:
    """Whether each font that a text is set in is embedded."""
    raw = pypdfium2.raw
    embedded = set()
    for index in range(len(document)):
        page = document[index]
        for thing in page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT]):
            embedded.add(bool(raw.FPDFFont_GetIsEmbedded(raw.FPDFTextObj_GetFont(thing.raw))))
        page.close()
    return embedded


# ---- PDF


@pytest.mark.parametrize(("paper", "size_pt"), [("a4", (595, 842)), ("us-letter", (612, 792))])
def test_a_pdf_is_tagged_titled_in_a_language_and_brings_its_fonts(
    paper: Paper, size_pt: tuple[int, int]
) -> None:
    pdf = render_pdf(report(signed_specimen()), paper=paper, now=NOW)
    with opened(pdf) as document:
        assert pypdfium2.raw.FPDFCatalog_IsTagged(document.raw)
        title = document.get_metadata_dict()["Title"]
        assert title == "Intraoperative OCT margin assessment, Specimen s-7h2k · case c-20261112-01"
        assert {tuple(round(side) for side in document.get_page_size(i)) for i in range(len(document))} == {
            size_pt
        }
        assert fonts_embedded(document) == {True}
        length = pypdfium2.raw.FPDFCatalog_GetLanguage(document.raw, None, 0)
        language = ctypes.create_string_buffer(length)
        pypdfium2.raw.FPDFCatalog_GetLanguage(
            document.raw, ctypes.cast(language, ctypes.POINTER(ctypes.c_ushort)), length
        )
        assert language.raw.decode("utf-16-le").rstrip("\0") == "en"
    assert b"pdfuaid" in pdf
    assert b"pdfaid" in pdf


def test_each_page_says_that_it_is_synthetic_research_and_preliminary_and_who_it_is_about() -> None:
    texts = pages(render_pdf(report(synthetic(specimen()))))
    assert len(texts) > 3
    for number, text in enumerate(texts, start=1):
        assert "SYNTHETIC spectra: computed, not measured." in text
        assert "Research use only. Not a medical device." in text
        assert "PRELIMINARY" in re.sub(r"PRELIMINARY · SYNTHETIC", "", text), "the watermark"
        assert "Müller-Łęcka, Zoë · MRN-0099123" in text
        assert f"page {number} of {len(texts)}" in text


def test_a_signed_report_has_no_watermark_and_real_spectra_no_synthetic_notice() -> None:
    for text in pages(render_pdf(report(signed_specimen()))):
        assert "PRELIMINARY" not in text
        assert "SYNTHETIC" not in text


def test_the_first_page_has_what_a_surgeon_looks_for_and_the_coding_sheet_is_last() -> None:
    first, *_, coding, table = pages(render_pdf(report(amended_specimen())))
    for words in (
        "AMENDED", "RIGHT", "Suspicious inferior, anterior", "shave of the inferior margin taken", "differs.",
        "Signed by", "Correction 1", "45.5%",
    ):  # fmt: skip
        assert words in first
    assert "Coding sheet A suggestion for a coder" in coding
    assert "0351T 52 1 suggested" in coding
    assert "SH second infusion therapy given concurrently" in table
    assert "not used: physician assistant at surgery" in table


def test_the_legend_of_the_maps_is_on_the_page_of_the_first_face() -> None:
    # So many lines before it that heading and legend would be the last on a page.
    said = interpretation(text="A line of what was seen.\n" * 24)
    (legend,) = [
        text
        for text in pages(render_pdf(report(signed_specimen(interpretation=said))))
        if "Face by face" in text
    ]
    assert "Superior" in legend.split("Face by face", 1)[1]


def test_a_pdf_is_taken_for_the_report_of_its_own_specimen_in_its_own_state_alone() -> None:
    one, amended = signed_specimen(), amended_specimen()
    pdf = render_pdf(report(one))
    assert check_attached(pdf, case(one), one.specimen_id, "r.pdf") == ""
    with pytest.raises(InputError, match=r"is final with 0 addenda, and .* is amended with 1"):
        check_attached(pdf, case(amended), amended.specimen_id, "r.pdf")
    other = msgspec.structs.replace(one, specimen_id="another-1")
    with pytest.raises(InputError, match="is of another specimen"):
        check_attached(pdf, case(other), "another-1", "r.pdf")
    with pytest.raises(InputError, match="is no PDF"):
        check_attached(b"text", case(one), one.specimen_id, "r.pdf")
    assert "is not known" in check_attached(b"%PDF-1.7", case(one), one.specimen_id, "r.pdf")


def test_the_same_report_is_the_same_pdf_to_the_byte() -> None:
    d = report(signed_specimen())
    assert render_pdf(d, now=NOW) == render_pdf(d, now=NOW)


# ---- what people write


WRITTEN = (
    '#let x = 1; *bold* _it_ $a^2$ <label> @ref `raw` [b] {c} \\u{41} // no comment "quoted" = = =',
    "<script>alert(1)</script> & <b>bold</b> {{ d }} {% raw %}",
    "Łęczyńska Ñandú Ωμέγα Жуков ﬁ ½ µm ≥ → 3 × 4",
    "张伟 田中 김철수 עברית العربية ไทย हिन्दी",
    "👩🏽‍⚕️ 🇩🇪 \U0001f9ec \ufffd \u200b \ufeff",
    "\x00\x1b[31m\u202eevil\u202c \ud7fb",
    "x" * 4000,
    "Zo\u0308e\u0301 " * 40,
)


@pytest.mark.parametrize("text", WRITTEN, ids=range(len(WRITTEN)))
def test_whatever_is_written_is_set_in_every_form(text: str) -> None:
    one = signed_specimen(
        orientation=text,
        label=text,
        interpretation=interpretation(
            text=text, faces=(FaceFinding(face="inferior", finding="suspicious", action=text),)
        ),
    )
    named = PatientIdentity(name=PersonName(family=text, given=text), patient_id="MRN-1")
    d = report(one, indication=text, patient=named)
    assert len(pages(render_pdf(d))) > 3
    assert all(columns(line) <= COLUMNS for line in render_text(d).splitlines())
    read = Reader()
    read.feed(render_html(d))
    assert read.scripts == 0
    if "<script>" in text:
        assert "<script>alert(1)</script>" in "".join(read.texts)


def test_what_typst_would_take_for_markup_is_printed_as_it_is() -> None:
    text = " ".join(pages(render_pdf(report(signed_specimen(), indication=WRITTEN[0]))))
    assert "#let x = 1; *bold* _it_ $a^2$ <label> @ref `raw` [b] {c}" in text


def test_a_character_that_no_font_has_is_written_out_by_its_number() -> None:
    # Private scripts that are in no font of a hospital, nor of a build machine: Egyptian hieroglyphs, Linear A.
    text = " ".join(
        pages(render_pdf(report(signed_specimen(), indication="before \U00013000\U00010600 after")))
    )
    assert "before [U+13000][U+10600] after" in text


def test_a_mark_that_no_font_has_does_not_take_its_letter_along() -> None:
    text = " ".join(pages(render_pdf(report(signed_specimen(), indication="marked a\u1ab0 apart"))))
    assert "marked a[U+1AB0] apart" in text
    assert "Dr. Amina Okafor" in text


def test_many_such_characters_do_not_end_it() -> None:
    many = "".join(chr(0x13000 + number) for number in range(600))
    text = " ".join(pages(render_pdf(report(signed_specimen(), indication=many)))).replace(" ", "")
    assert "[U+13000]" in text
    assert "[U+13257]" in text


# ---- how much there is


def test_many_faces_with_long_notes_and_many_clusters_are_all_there() -> None:
    faces = tuple(f"shave {number:02d}" for number in range(40))
    views = tuple(key_view(number, frame=number, evidence=1 - number / 40) for number in range(1, 17))
    sweeps = tuple(
        msgspec.structs.replace(SUSPICIOUS, face=face, sweep=number, key_views=views)
        for number, face in enumerate(faces)
    )
    findings = tuple(FaceFinding(face=face, finding="suspicious", action=LOREM * 60) for face in faces)
    one = signed_specimen(
        faces=faces,
        sweeps=sweeps,
        interpretation=interpretation(faces=findings, text=LOREM * 200),
        decisions=(),
    )
    d = report(one)
    texts = pages(render_pdf(d))
    whole = " ".join(texts)
    for face in faces:
        assert f"Shave {face[-2:]}, key view 3" in whole
    assert whole.count("13 more key views, less suspicious, are in the record and not shown.") == 40
    # Page 1, the table of it, and each face: nothing of a note is cut off.
    assert whole.count("anew") == 200 + 40 * 60 * 2
    assert f"page {len(texts)} of {len(texts)}" in texts[-1]


@pytest.mark.parametrize(
    "one",
    [
        specimen(sweeps=(), decisions=(), marks=(), re_excisions=(), diagnoses=()),
        specimen(phase="withdrawn", withdrawn_why="", sweeps=()),
        signed_specimen(sweeps=(sweep(1, "superior", grid=(), key_views=()),)),
        signed_specimen(
            sweeps=(sweep(1, "superior", width_mm=None, height_mm=None, versions=SUSPICIOUS.versions),)
        ),
        signed_specimen(sweeps=(sweep(1, "superior", grid=("N" * 300,) * 2, width_mm=40.0, height_mm=0.1),)),
        signed_specimen(kind="node", faces=("node",), sweeps=(sweep(1, "node"),)),
    ],
)
def test_little_is_enough(one: SpecimenRecord) -> None:
    d = report(one, patient=None, order=None, indication="")
    assert pages(render_pdf(d))
    assert render_html(d)
    assert "not recorded" in render_text(d)


def test_why_there_are_no_pictures_of_the_tissue_is_said() -> None:
    d = report(signed_specimen())
    assert "No picture of the tissue: pictures of the tissue were not asked for" in " ".join(
        pages(render_pdf(d))
    )


# ---- HTML


def test_the_caption_says_what_dark_blue_is_in_an_en_face_picture() -> None:
    one = signed_specimen()
    drawn = draw_pictures(one, key_views=0, from_recordings=False)["inferior"]
    seen = {"inferior": msgspec.structs.replace(drawn, enface=drawn.map)}
    html = render_html(build_report(case(one), one.specimen_id, pictures=seen, now=NOW))
    assert html.count("dark blue: no surface found") == 1


class Reader(HTMLParser):
    """What a browser would make of it, as far as it matters."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.scripts = 0
        self.images: list[dict[str, str | None]] = []
        self.elsewhere: list[str] = []
        self.language = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.scripts += tag == "script"
        if tag == "html":
            self.language = values.get("lang") or ""
        if tag == "img":
            self.images.append(values)
        self.elsewhere += [
            value
            for name in ("src", "href")
            if (value := values.get(name)) and not value.startswith("data:image/")
        ]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_nothing_from_elsewhere_and_describes_its_pictures() -> None:
    read = Reader()
    read.feed(render_html(report(synthetic(specimen()))))
    assert read.elsewhere == []
    assert read.language == "en"
    maps = [image for image in read.images if (image["alt"] or "").startswith("Margin map of the")]
    assert len(maps) == 6
    whole = " ".join("".join(read.texts).split())
    for words in (
        "SYNTHETIC spectra: computed",
        "Research use only",
        "PRELIMINARY",
        "suggestion for a coder",
    ):
        assert words in whole


# ---- text


def columns(line: str) -> int:
    return sum(
        0
        if unicodedata.combining(one) or unicodedata.category(one) == "Cf"
        else 1 + (unicodedata.east_asian_width(one) in "WF")
        for one in line
    )


def test_the_text_for_the_operative_note_has_the_elements_in_words() -> None:
    text = " ".join(render_text(report(synthetic(amended_specimen()))).split())
    for words in (
        "INTRAOPERATIVE OCT MARGIN ASSESSMENT - AMENDED",
        "Indication".upper(),
        "Specimen: s-7h2k",
        "Side: RIGHT",
        "Suspicious: inferior, anterior",
        "anterior: reader SUSPICIOUS, algorithm nothing suspicious, WHICH DIFFER; 99.7% seen, depth seen 0.84 mm",
        "inferior: 2026-11-12 09:45 UTC, immediate, by Dr. Amina Okafor",
        "Interpreted by: Dr. Amina Okafor, operating surgeon",
        "inferior: positive, invasive carcinoma, 0.00 mm from ink",
        "The inferior area measures 4 mm, not 3 mm.",
        "Model: margin-1 1",
    ):
        assert words in text
    assert text.startswith("SYNTHETIC")
    assert text.endswith("Research use only. Not a medical device.")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.integers(0, 8), st.integers(0, 8))
def test_no_line_is_longer_than_it_may_be_and_nothing_is_lost(text: str, indent: int, hanging: int) -> None:
    lines = list(wrapped(text, indent=indent, hanging=hanging, columns=30))
    assert all(columns(line) <= 30 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
