"""The report says what the record has: what was found, by whom, what was not seen, and where they disagree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from tests.unit.report.cases import (
    FACES,
    RADIOLOGIST,
    SUSPICIOUS,
    SWEEPS,
    WHOLE,
    amended_specimen,
    case,
    interpretation,
    minutes,
    signature,
    signed_specimen,
    specimen,
    sweep,
    synthetic,
)

from octmargin.case.record.model import (
    Conflict,
    Decision,
    Discontinuation,
    FaceFinding,
    PathologyResult,
    PatientIdentity,
    PersonName,
    SpecimenRecord,
    Statement,
)
from octmargin.errors import InputError
from octmargin.report.building import build_report
from octmargin.report.document import FaceSection, Field, ReportDocument
from octmargin.report.text import render_text
from octmargin.report.wording import printable

NOW = datetime(2026, 11, 12, 10, 5, tzinfo=UTC)


def report(one: SpecimenRecord, *, now: datetime = NOW, **values: Any) -> ReportDocument:
    return build_report(case(one, **values), one.specimen_id, now=now)


def face(document: ReportDocument, name: str) -> FaceSection:
    return next(section for section in document.faces if section.face == name)


def value(fields: tuple[Field, ...], label: str) -> str:
    return next(field.value for field in fields if field.label == label)


# ---- what the source document asks a report of 0352T to hold


def test_a_report_has_every_element_that_a_report_of_0352t_must_hold() -> None:
    d = report(amended_specimen())
    assert d.indication.startswith("Breast-conserving surgery")
    assert value(d.specimen, "Specimen") == "s-7h2k"
    assert value(d.margin_status, "Suspicious") == "inferior, anterior"
    assert [field.label for field in d.re_excisions] == ["inferior"]
    assert "immediate" in d.re_excisions[0].value
    assert "shave s-9m1q" in d.re_excisions[0].value
    assert value(d.signing.interpreter, "Interpreted by") == "Dr. Amina Okafor, operating surgeon"
    assert [(row.face, row.pathology) for row in d.pathology] == [("inferior", "positive")]


def test_the_coding_sheet_beside_a_signature_says_that_it_was_not_signed() -> None:
    assert "No part of what was signed" in report(signed_specimen()).coding.notice
    assert "No part of what was signed" not in report(specimen()).coding.notice


def test_it_says_side_orientation_times_and_versions() -> None:
    d = report(signed_specimen())
    assert value(d.specimen, "Side") == "RIGHT"
    assert value(d.specimen, "Orientation") == "short suture superior, long suture lateral"
    assert value(d.specimen, "In formalin") == "2026-11-12 10:01 UTC, 30 min after excision"
    (versions,) = d.versions
    assert value(versions.fields, "Software") == "octmargin 0.1.0"
    assert value(versions.fields, "Model") == "margin-1 1 · sha256:9b1f4c7de0aa5521"
    assert value(versions.fields, "Calibration") == "factory-2026-10.npz · sha256:04d1c2aa9377be10"
    assert value(versions.fields, "Console") == "octmargin Simulated console, serial SIM-0042, firmware 2.1.0"
    assert value(d.record, "Head") == f"41:{'cd' * 32}"
    assert value(d.record, "Signed on") == f"41:{'ab' * 32}"


def test_sweeps_that_were_judged_by_other_versions_are_told_apart() -> None:
    other = msgspec.structs.replace(
        WHOLE[0], versions=msgspec.structs.replace(WHOLE[0].versions, model="rule-1")
    )
    d = report(signed_specimen(sweeps=(other, *WHOLE[1:])))
    assert [one.of.count("sweep") for one in d.versions] == [1, 5]


def test_every_face_has_status_coverage_depth_and_distance() -> None:
    section = face(report(signed_specimen()), "inferior")
    assert (section.reader.text, section.algorithm.text) == ("suspicious", "suspicious")
    assert (section.coverage, section.depth, section.distance) == ("99.7%", "0.84 mm", "0.18 mm")
    assert section.action == "shave of the inferior margin taken; re-excised, shave s-9m1q"


def test_a_re_excision_of_the_record_stands_as_the_action_where_the_interpreter_named_none() -> None:
    plain = interpretation(faces=(FaceFinding(face="inferior", finding="suspicious"),))
    d = report(signed_specimen(interpretation=plain))
    assert face(d, "inferior").action == "re-excised, shave s-9m1q"
    assert face(d, "superior").action == ""


def test_nothing_suspicious_says_of_how_much_of_the_face() -> None:
    cleared = interpretation(
        faces=tuple(
            FaceFinding(face=name, finding="nothing_suspicious") for name in ("superior", "lateral", "deep")
        )
    )
    whole = msgspec.structs.replace(WHOLE[0], coverage=1.0)
    half_seen = msgspec.structs.replace(WHOLE[3], coverage=0.4)
    d = report(signed_specimen(interpretation=cleared, sweeps=(whole, half_seen)))
    status = value(d.margin_status, "Nothing suspicious within what was seen")
    assert status == "superior, lateral (40% seen), deep (not scanned)"


def test_a_recording_is_named_without_the_folders_above_it() -> None:
    elsewhere = msgspec.structs.replace(WHOLE[0], recording="/srv/theatre-2/recordings/c1-s1")
    d = report(signed_specimen(sweeps=(elsewhere,)))
    assert value(d.record, "Recordings") == "c1-s1"


@pytest.mark.parametrize(
    ("name", "result", "missed"),
    [
        (
            "medial",
            "positive",
            "Not seen by the reader and the algorithm: nothing suspicious was said of it.",
        ),
        ("anterior", "positive", "Not seen by the algorithm: nothing suspicious was said of it."),
        ("inferior", "positive", ""),
        ("medial", "negative", ""),
    ],
)
def test_a_positive_margin_where_nothing_suspicious_was_said_is_marked(
    name: str, result: Any, missed: str
) -> None:
    found = PathologyResult(face=name, finding=result, by="Dr. Lee")
    (row,) = report(signed_specimen(pathology=(found,))).pathology
    assert row.missed == missed
    assert missed in " ".join(render_text(report(signed_specimen(pathology=(found,)))).split())


# ---- what was not seen


def test_what_was_not_seen_is_told_of_every_face() -> None:
    d = report(signed_specimen())
    assert [field.label for field in d.not_seen] == list(FACES)
    lateral = value(d.not_seen, "lateral")
    assert "the sweep was cut short" in lateral
    assert "54.5% of the planned surface (192 not scanned, 16 lost and 1 poor of 384 blocks)" in lateral
    assert "1 of 24 frames were lost (1 never arrived)" in lateral
    assert "what lies deeper than 0.84 mm" in lateral


def test_what_was_seen_and_what_was_not_never_add_up_to_more_than_there_is() -> None:
    for coverage in (0.0, 0.00049, 0.4999, 0.9999, 1.0):
        one = msgspec.structs.replace(WHOLE[0], coverage=coverage)
        d = report(signed_specimen(sweeps=(one,), faces=("superior",)))
        missing = d.not_seen[0].value.split("% of the planned surface")[0]
        seen = float(d.faces[0].coverage.rstrip("%"))
        assert seen + float(missing) == pytest.approx(100)
        assert (seen == 100) == (coverage == 1.0)


def test_a_face_that_was_never_scanned_is_said_on_top_and_never_called_clear() -> None:
    d = report(signed_specimen(sweeps=SWEEPS[:2]))
    assert "Not scanned: medial, lateral, anterior, posterior." in d.alerts
    medial = face(d, "medial")
    assert (medial.algorithm.text, medial.coverage, medial.depth) == ("not scanned", "0%", "nothing")
    assert value(d.not_seen, "medial") == "the whole face: it was not scanned"
    # The interpreter called it "nothing suspicious" though nobody had seen it.
    assert medial.differs


def test_a_sweep_that_cannot_be_relied_on_is_said_on_top() -> None:
    doubtful = msgspec.structs.replace(SUSPICIOUS, trouble="the log was changed")
    d = report(signed_specimen(sweeps=(doubtful,)))
    assert any("inferior: what is said of it cannot be relied on" in alert.lower() for alert in d.alerts)
    assert "cannot be relied on: the log was changed" in value(d.not_seen, "inferior")


def test_nothing_visualised_is_said_as_that() -> None:
    blind = sweep(1, "superior", verdict="indeterminate", visualised_depth_mm=None, coverage=0.0)
    d = report(signed_specimen(sweeps=(blind,)))
    assert face(d, "superior").depth == "nothing"
    assert "any depth: nothing was visualised" in value(d.not_seen, "superior")


# ---- reader and algorithm


def test_where_reader_and_algorithm_disagree_both_are_told_with_who_and_why() -> None:
    d = report(signed_specimen())
    by_interpreter, at_display = d.disagreements
    assert (by_interpreter.face, by_interpreter.algorithm.text, by_interpreter.reader.text) == (
        "anterior", "nothing suspicious", "suspicious",
    )  # fmt: skip
    assert by_interpreter.by == "Dr. Amina Okafor, operating surgeon"
    assert by_interpreter.note == "none: crush artefact is likely"
    assert (at_display.reader.text, at_display.note) == ("disagrees", "bright rim at block 5")
    assert face(d, "anterior").differs
    assert not face(d, "inferior").differs


def decided(number: int, word: str, **values: Any) -> Decision:
    given: dict[str, Any] = {
        "by": "okafor", "role": "reader", "session": "5f0a", "sweep": 2, "face": "inferior", "subject": "face",
    }  # fmt: skip
    return Decision(id=f"d{number}", at=minutes(number), word=word, **(given | values))


def test_the_newest_word_of_a_person_counts_and_is_told_once() -> None:
    said = (decided(9, "agree"), decided(8, "disagree"))
    d = report(specimen(decisions=said))
    assert d.disagreements == ()
    said = (decided(8, "agree"), decided(9, "unsure"), decided(9, "disagree", by="lee"))
    assert [one.reader.text for one in report(specimen(decisions=said)).disagreements] == [
        "is unsure",
        "disagrees",
    ]


def test_a_decision_on_a_key_view_or_an_earlier_sweep_is_called_so() -> None:
    again = msgspec.structs.replace(SUSPICIOUS, sweep=9, verdict="nothing_suspicious", key_views=())
    said = (decided(9, "disagree", subject="cluster", cluster=2),)
    d = report(specimen(sweeps=(SUSPICIOUS, again), decisions=said))
    (one,) = d.disagreements
    assert one.face == "inferior (key view 2)"
    assert "of sweep 2, not the newest" in one.by
    assert one.algorithm.text == "suspicious"


def test_an_earlier_sweep_over_a_face_is_not_forgotten() -> None:
    again = msgspec.structs.replace(SUSPICIOUS, sweep=9, verdict="nothing_suspicious", key_views=())
    section = face(report(specimen(sweeps=(SUSPICIOUS, again))), "inferior")
    assert section.algorithm.text == "nothing suspicious"
    assert any("An earlier sweep (2" in remark and "was suspicious" in remark for remark in section.remarks)


def test_a_face_that_the_interpreter_does_not_mention_is_not_given_a_status() -> None:
    only = interpretation(faces=(FaceFinding(face="inferior", finding="suspicious"),))
    d = report(signed_specimen(interpretation=only))
    assert (
        value(d.margin_status, "Nothing stated by the interpreter")
        == "superior, medial, lateral, anterior, posterior"
    )
    assert face(d, "superior").reader.text == "not stated"


def test_without_an_interpretation_the_algorithm_alone_speaks_and_that_is_said() -> None:
    d = report(specimen())
    assert d.status_by == "by the algorithm alone, not interpreted"
    assert d.state_text.startswith("Not interpreted")
    assert value(d.margin_status, "Suspicious") == "inferior"
    assert d.no_disagreement.startswith("Nobody has interpreted")


def test_what_is_provisional_or_in_doubt_is_never_listed_as_nothing_suspicious() -> None:
    doubtful = {"provisional": True}, {"trouble": "the log was changed"}
    for changes in doubtful:
        one = msgspec.structs.replace(WHOLE[0], **changes)
        d = report(specimen(sweeps=(one,), faces=("superior",)))
        assert [(field.label, field.value) for field in d.margin_status] == [("Indeterminate", "superior")]
        assert d.faces[0].algorithm.tone == "indeterminate"


def test_a_face_that_was_suspicious_before_it_was_scanned_anew_is_said_on_top() -> None:
    again = msgspec.structs.replace(SUSPICIOUS, sweep=9, verdict="nothing_suspicious", key_views=())
    d = report(specimen(sweeps=(SUSPICIOUS, again), faces=("inferior",)))
    assert "Inferior: an earlier sweep was suspicious, the newest is nothing suspicious." in d.alerts


def test_what_an_interpreter_said_before_the_newest_sweep_is_called_so() -> None:
    d = report(specimen(phase="scanned", interpretation=interpretation()))
    assert d.status_by.endswith("before what was scanned since")


# ---- states


@pytest.mark.parametrize(
    ("one", "state", "watermark"),
    [
        (specimen(), "preliminary", "PRELIMINARY"),
        (
            specimen(phase="preliminary", interpretation=interpretation(state="preliminary")),
            "preliminary",
            "PRELIMINARY",
        ),
        (specimen(phase="final", interpretation=interpretation()), "preliminary", "PRELIMINARY"),
        (signed_specimen(), "final", ""),
        (amended_specimen(), "amended", ""),
        (specimen(phase="withdrawn", withdrawn_why="registered twice"), "withdrawn", "WITHDRAWN"),
    ],
)
def test_nothing_that_is_not_signed_is_more_than_preliminary(
    one: SpecimenRecord, state: str, watermark: str
) -> None:
    d = report(one)
    assert (d.state, d.watermark) == (state, watermark)
    assert bool(d.signing.signed) == (state in ("final", "amended"))


def test_an_interpretation_that_is_older_than_the_newest_sweep_is_called_so() -> None:
    d = report(specimen(phase="scanned", interpretation=interpretation()))
    assert "older than what was scanned since" in d.state_text


def test_who_signed_is_told_also_where_another_interpreted() -> None:
    referred = interpretation(by=RADIOLOGIST, mode="referred", at=minutes(600))
    d = report(signed_specimen(interpretation=referred, signature=signature(by=RADIOLOGIST)))
    assert value(d.signing.interpreter, "When").endswith("later, on the recording (referred)")
    assert value(d.signing.signed, "Signed by") == "Dr. Jørgen Ström, radiologist"
    assert value(d.signing.signed, "Taxonomy") == "2085R0202X (Diagnostic Radiology)"


def test_a_correction_is_an_addendum_that_the_first_lines_point_to() -> None:
    d = report(amended_specimen())
    assert "Amended by 1 addendum (1 correction)" in d.state_text
    assert "Addendum 1 corrects what was signed; read it with the findings." in d.alerts
    assert d.addenda[0].title == "Correction 1, 2026-11-14 11:30 UTC, Dr. Jørgen Ström, radiologist"
    # What was signed stands as it was.
    assert "3 mm" in d.interpretation


def test_a_contradiction_that_waits_is_the_first_that_is_read() -> None:
    mine = Conflict(specimen_id="s-7h2k", what="laterality", text="order left, specimen right")
    of_another = Conflict(specimen_id="other", what="laterality", text="not about this one")
    d = report(specimen(), phase="confirm", conflicts=(of_another, mine))
    assert d.alerts[0] == "Confirm: order left, specimen right."
    assert not any("not about this one" in alert for alert in d.alerts)


def test_a_discontinued_acquisition_is_said_on_top_with_its_reason() -> None:
    given_up = Discontinuation(at=minutes(5), by="okafor", why="bleeding")
    d = report(specimen(phase="discontinued", discontinued=given_up))
    assert "The acquisition was discontinued: bleeding." in d.alerts


def test_a_side_that_a_person_confirmed_is_told() -> None:
    said = Statement(
        source="confirmation", at=minutes(3), by="okafor", laterality="right", why="looked at the label"
    )
    d = report(specimen(statements=(said,)))
    assert (
        value(d.specimen, "Side confirmed") == "right, by okafor, 2026-11-12 09:33 UTC: looked at the label"
    )


def test_what_a_confirmation_overruled_is_told() -> None:
    said = Statement(
        source="confirmation",
        at=minutes(3),
        by="okafor",
        laterality="left",
        orientation="short superior",
        why="looked at the sutures",
        despite=("stage, orientation: short inferior",),
    )
    d = report(specimen(statements=(said,)))
    assert value(d.specimen, "Orientation confirmed") == (
        "left, short superior, by okafor, 2026-11-12 09:33 UTC: looked at the sutures; "
        "overruled: stage, orientation: short inferior"
    )


# ---- the formalin clock


@pytest.mark.parametrize(
    ("after_min", "alert"),
    [(60, ""), (61, "In formalin 61 min after excision, later than 1 hour."), (None, "")],
)
def test_formalin_later_than_an_hour_is_said(after_min: int | None, alert: str) -> None:
    formalin_at = None if after_min is None else minutes(1 + after_min)
    d = report(signed_specimen(formalin_at=formalin_at))
    assert (alert in d.alerts) == bool(alert)
    assert any("formalin" in one for one in d.alerts) == bool(alert)


def test_a_specimen_without_a_time_in_formalin_is_said_after_an_hour() -> None:
    one = signed_specimen(formalin_at=None)
    assert not any("formalin" in alert for alert in report(one, now=minutes(61)).alerts)
    assert any("no time in formalin" in alert for alert in report(one, now=minutes(62)).alerts)
    assert value(report(one).specimen, "In formalin") == "not recorded"


def test_a_time_in_formalin_that_came_after_signing_stands_apart_and_is_not_missed() -> None:
    signed = signed_specimen(formalin_at=None)
    later = signed_specimen(formalin_at=minutes(40))
    d = build_report(case(later), later.specimen_id, now=minutes(500), signed=case(signed))
    assert value(d.specimen, "In formalin") == "not recorded"
    assert value(d.later, "In formalin") == "2026-11-12 10:10 UTC"
    assert not any("formalin" in alert for alert in d.alerts)


@pytest.mark.parametrize(
    "changes",
    [
        {"laterality": "left"},
        {"sweeps": SWEEPS[:5]},
        {"interpretation": interpretation(text="other")},
        {"decisions": ()},
    ],
)
def test_a_record_whose_signed_report_reads_otherwise_now_gives_no_report(changes: dict[str, Any]) -> None:
    one = signed_specimen(**changes)
    with pytest.raises(InputError, match="is not as it was signed; verify the record"):
        build_report(case(one), one.specimen_id, now=NOW, signed=case(signed_specimen()))


@pytest.mark.parametrize("changes", [{"patient": None}, {"order": None}, {"indication": "another"}])
def test_nor_does_a_case_that_is_about_somebody_else_now(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="of its case is not as it was signed"):
        build_report(case(**changes), "s-7h2k", now=NOW, signed=case())


def test_nor_a_signature_that_the_log_does_not_have() -> None:
    one = signed_specimen(signature=signature(at=minutes(17)))
    with pytest.raises(InputError, match="its signature is not as it was signed"):
        build_report(case(one), one.specimen_id, now=NOW, signed=case(signed_specimen()))


# ---- who it is about


def test_without_a_patient_or_an_order_the_report_says_so() -> None:
    d = report(signed_specimen(), patient=None, order=None)
    assert "No patient is recorded with this case." in d.alerts
    assert d.patient_line == "no patient recorded"
    assert value(d.case, "Order") == "not recorded"


def test_the_head_of_each_page_names_patient_and_specimen() -> None:
    d = report(signed_specimen())
    assert d.patient_line == "Müller-Łęcka, Zoë · MRN-0099123 · born 1968-03-04"
    assert d.subject == "Specimen s-7h2k · case c-20261112-01"


def test_a_specimen_that_the_case_does_not_have() -> None:
    with pytest.raises(InputError, match="has no specimen s-1; registered are: s-7h2k"):
        build_report(case(), "s-1")


# ---- words


def test_synthetic_is_called_so_and_only_where_it_is() -> None:
    assert report(synthetic(signed_specimen())).synthetic_notice.startswith("SYNTHETIC")
    assert report(signed_specimen()).synthetic_notice == ""
    one_of_six = (msgspec.structs.replace(WHOLE[0], synthetic=True), *WHOLE[1:])
    assert report(signed_specimen(sweeps=one_of_six)).synthetic_notice.startswith("SYNTHETIC")


def test_times_are_those_of_the_zone_with_its_name() -> None:
    one = signed_specimen()
    d = build_report(case(one), one.specimen_id, zone=ZoneInfo("Europe/Berlin"), now=NOW)
    assert value(d.specimen, "Excised") == "2026-11-12 10:31 CET"
    summer = signed_specimen(excised_at=minutes(1) - timedelta(days=120))
    d = build_report(case(summer), summer.specimen_id, zone=ZoneInfo("Europe/Berlin"), now=NOW)
    assert value(d.specimen, "Excised") == "2026-07-15 11:31 CEST"


def test_the_day_of_service_is_that_of_the_site() -> None:
    # 23:33 in UTC is the next day in Berlin.
    late = sweep(1, "superior", started_at=minutes(14 * 60 + 3))
    one = signed_specimen(sweeps=(late,))
    berlin = build_report(case(one), one.specimen_id, zone=ZoneInfo("Europe/Berlin"), now=NOW)
    assert str(berlin.coding.date_of_service) == "2026-11-13"
    assert str(report(one).coding.date_of_service) == "2026-11-12"


def test_what_cannot_be_seen_on_paper_is_written_out_and_not_dropped() -> None:
    assert printable("left\u202etfel") == "left[U+202E]tfel"
    assert printable("a\x00b\x1b[31m") == "a[U+0000]b[U+001B][31m"
    assert printable("one\r\ntwo\u2028three\x0cfour") == "one\ntwo\nthree\nfour"
    assert printable("Zoe\u0308") == "Zoë"


def test_texts_of_people_reach_the_report_printable() -> None:
    name = PatientIdentity(name=PersonName(family="Right\u202eTfel", given="\x07"), patient_id="1")
    d = report(signed_specimen(orientation="short\x00suture"), patient=name)
    assert value(d.patient, "Patient") == "Right[U+202E]Tfel, [U+0007]"
    assert value(d.specimen, "Orientation") == "short[U+0000]suture"


def test_the_name_of_the_file_is_one_wherever_it_is_stored() -> None:
    assert report(signed_specimen()).file_stem == "report-s-7h2k-final"
    stem = report(specimen(specimen_id="../étude 1")).file_stem
    assert not set(stem) & set("/\\ é")
    assert ".." not in stem
