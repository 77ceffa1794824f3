"""What a period was like, against numbers that were counted by hand, and intervals that were published."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.case.examples import FACES, SURGEON, sweep

from octmargin.case.quality.faces import specimen_rows
from octmargin.case.quality.measures import Quality, Share, measure, share
from octmargin.case.quality.sheets import faces_csv, measures_csv, page
from octmargin.case.record.model import (
    CasePhase,
    CaseSnapshot,
    Decision,
    FaceFinding,
    Interpretation,
    PathologyResult,
    ReExcision,
    SpecimenPhase,
    SpecimenRecord,
    SweepRecord,
)

NOON = datetime(2031, 5, 6, 12, 0, tzinfo=UTC)


def scanned(face: str, verdict: str, **changes: Any) -> SweepRecord:
    return sweep(face, **({"verdict": verdict, "synthetic": False} | changes))


def specimen(name: str = "s-1", **changes: Any) -> SpecimenRecord:
    fields: dict[str, Any] = {
        "specimen_id": name,
        "phase": SpecimenPhase.SIGNED,
        "kind": "lumpectomy",
        "laterality": "left",
        "registered_at": NOON,
        "faces": FACES,
    }
    return SpecimenRecord(**(fields | changes))


def case(*specimens: SpecimenRecord, name: str = "case-1", at: datetime = NOON) -> CaseSnapshot:
    return CaseSnapshot(
        case_id=name, phase=CasePhase.OPEN, opened_at=at, specimens=specimens, log_seq=1, log_head="x"
    )


def found(face: str, finding: str) -> PathologyResult:
    return PathologyResult(face=face, finding=finding)  # type: ignore[arg-type]


def measured(*cases: CaseSnapshot, close_is_positive: bool = True, synthetic: bool = False) -> Quality:
    rows = specimen_rows(cases, None, None, synthetic=synthetic)
    return measure(rows, first=None, last=None, synthetic=synthetic, close_is_positive=close_is_positive)


def counts(shares: tuple[Share, ...]) -> dict[str, tuple[int, int]]:
    return {one.name: (one.k, one.n) for one in shares}


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        # Newcombe, Stat Med 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_wilsons_as_they_were_published(k: int, n: int, low: float, high: float) -> None:
    one = share("x", "y", k, n)
    assert (one.low, one.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))
    assert one.value == k / n


def test_nothing_to_count_has_no_value() -> None:
    assert share("x", "y", 0, 0).value is None
    assert measured().cases == 0


def eight_faces() -> CaseSnapshot:
    """Each of eight faces is another pair of the algorithm's word and pathology's."""
    pairs = {
        "a": ("suspicious", "positive"),
        "b": ("suspicious", "close"),
        "c": ("suspicious", "negative"),
        "d": ("nothing_suspicious", "positive"),
        "e": ("nothing_suspicious", "negative"),
        "f": ("nothing_suspicious", "negative"),
        "g": ("indeterminate", "positive"),
        "h": ("indeterminate", "negative"),
        "i": ("suspicious", "not_assessed"),
    }
    sweeps = tuple(scanned(face, word) for face, (word, _) in pairs.items())
    results = tuple(found(face, finding) for face, (_, finding) in pairs.items())
    return case(specimen(faces=tuple(pairs), sweeps=sweeps, pathology=results))


def test_the_algorithm_against_pathology() -> None:
    quality = measured(eight_faces())
    assert (quality.faces, quality.correlated) == (9, 8)
    assert counts(quality.algorithm) == {
        "sensitivity": (2, 3),
        "sensitivity, no answer counted as missed": (2, 4),
        "specificity": (2, 3),
        "positive predictive value": (2, 3),
        "negative predictive value": (2, 3),
        "agreement": (4, 6),
        "no answer": (2, 8),
    }


def test_a_close_margin_may_count_as_negative() -> None:
    quality = measured(eight_faces(), close_is_positive=False)
    assert counts(quality.algorithm) == {
        "sensitivity": (1, 2),
        "sensitivity, no answer counted as missed": (1, 3),
        "specificity": (2, 4),
        "positive predictive value": (1, 3),
        "negative predictive value": (2, 3),
        "agreement": (3, 6),
        "no answer": (2, 8),
    }


def interpreted(**findings: str) -> Interpretation:
    return Interpretation(
        by=SURGEON,
        at=NOON + timedelta(minutes=40),
        mode="real-time",
        state="final",
        faces=tuple(FaceFinding(face=face, finding=word) for face, word in findings.items()),  # type: ignore[arg-type]
    )


def test_the_interpreter_is_compared_apart_and_only_with_what_is_final() -> None:
    said = specimen(
        sweeps=(scanned("medial", "suspicious"), scanned("lateral", "suspicious")),
        interpretation=interpreted(medial="suspicious", lateral="nothing_suspicious"),
        pathology=(found("medial", "positive"), found("lateral", "negative")),
    )
    quality = measured(case(said))
    assert counts(quality.interpreter)["agreement"] == (2, 2)
    assert counts(quality.algorithm)["agreement"] == (1, 2)
    assert said.interpretation is not None
    preliminary = replace(said, interpretation=replace(said.interpretation, state="preliminary"))
    assert set(counts(measured(case(preliminary)).interpreter).values()) == {(0, 0)}


def test_an_interpreter_who_leaves_a_face_open_gives_no_answer() -> None:
    said = specimen(
        sweeps=(scanned("medial", "suspicious"),),
        interpretation=interpreted(medial="indeterminate", lateral="not_assessed"),
        pathology=(found("medial", "positive"), found("lateral", "negative")),
    )
    shares = counts(measured(case(said)).interpreter)
    assert shares["no answer"] == (2, 2)
    assert shares["sensitivity, no answer counted as missed"] == (0, 1)


def test_a_sweep_that_was_cut_short_proves_nothing_whatever_it_says() -> None:
    cut = specimen(
        sweeps=(scanned("medial", "nothing_suspicious", provisional=True),),
        pathology=(found("medial", "negative"),),
    )
    shares = counts(measured(case(cut)).algorithm)
    assert (shares["agreement"], shares["no answer"]) == ((0, 0), (1, 1))


def test_of_several_sweeps_the_newest_and_of_several_results_the_worst_counts() -> None:
    twice = specimen(
        sweeps=(scanned("medial", "nothing_suspicious", number=1), scanned("medial", "suspicious", number=2)),
        pathology=(found("medial", "negative"), found("medial", "positive"), found("medial", "close")),
    )
    assert counts(measured(case(twice)).algorithm)["sensitivity"] == (1, 1)


def decision(number: int, word: str, *, by: str = "anna") -> Decision:
    return Decision(
        id=f"d{number}", by=by, role="reader", at=NOON, session="5f0c8a1be2d94c37", sweep=number, face="medial",
        subject="face", word=word,  # type: ignore[arg-type]
    )  # fmt: skip


def more(face: str, *, immediate: bool) -> ReExcision:
    return ReExcision(face=face, at=NOON, why="x", by="y", immediate=immediate)


def test_the_course_of_things() -> None:
    first = specimen(
        sweeps=(scanned("medial", "suspicious", number=2),),
        decisions=(decision(2, "agree"), decision(2, "disagree"), decision(1, "agree")),
        re_excisions=(more("medial", immediate=True),),
        pathology=(found("medial", "positive"), found("lateral", "negative")),
        excised_at=NOON,
        formalin_at=NOON + timedelta(minutes=61),
    )
    second = specimen(
        "s-2",
        sweeps=(scanned("medial", "indeterminate"), scanned("lateral", "suspicious")),
        re_excisions=(more("medial", immediate=True), more("lateral", immediate=False)),
        pathology=(found("lateral", "positive"),),
        excised_at=NOON,
        formalin_at=NOON + timedelta(minutes=60),
    )
    node = specimen("n-1", kind="node", faces=("node",), sweeps=(scanned("node", "suspicious"),))
    withdrawn = specimen("gone", phase=SpecimenPhase.WITHDRAWN)
    quality = measured(case(first), case(second, node, withdrawn, name="case-2"))
    assert (quality.cases, quality.specimens, quality.faces) == (2, 3, 5)
    assert counts(quality.course) == {
        "scanned": (4, 5),
        "indeterminate": (1, 4),
        "reader disagreed": (1, 1),
        "immediate re-excision": (2, 2),
        "positive and not re-excised at once": (1, 2),
        "second operation": (1, 2),
        "formalin within the hour": (1, 2),
    }


def test_spreads_are_medians_with_quartiles() -> None:
    cases = [
        case(
            specimen(
                sweeps=(
                    scanned("medial", "suspicious", started_at=NOON, ended_at=NOON, coverage=0.5),
                    scanned(
                        "lateral", "suspicious", ended_at=NOON + timedelta(minutes=minutes), coverage=1.0
                    ),
                ),
                interpretation=interpreted(medial="suspicious"),
                excised_at=NOON,
            ),
            name=f"case-{minutes}",
        )
        for minutes in (2, 4, 6, 8, 10)
    ]
    spreads = {one.name: one for one in measured(*cases).spreads}
    scanning = spreads["scanning"]
    assert (scanning.n, scanning.lower_quartile, scanning.median, scanning.upper_quartile) == (5, 4, 6, 8)
    assert (spreads["coverage"].n, spreads["coverage"].median) == (10, 75)
    assert spreads["excision to final interpretation"].median == 40
    assert spreads["excision to formalin"].median is None


def test_a_referred_interpretation_tells_nothing_of_the_time_in_the_operating_room() -> None:
    said = replace(interpreted(medial="suspicious"), mode="referred")
    spreads = {
        one.name: one for one in measured(case(specimen(excised_at=NOON, interpretation=said))).spreads
    }
    assert spreads["excision to final interpretation"].n == 0


def test_a_period_has_its_first_and_last_day() -> None:
    local = datetime(2031, 5, 6, 0, 30).astimezone()
    cases = [case(specimen(), name=f"d{day}", at=local + timedelta(days=day)) for day in range(-1, 4)]
    rows = specimen_rows(cases, date(2031, 5, 6), date(2031, 5, 8), synthetic=False)
    assert [row.case_id for row in rows] == ["d0", "d1", "d2"]


def test_synthetic_cases_are_never_mixed_with_others() -> None:
    synthetic = case(specimen(sweeps=(sweep("medial"),)), specimen("not-scanned"), name="computed")
    real = case(specimen(sweeps=(scanned("medial", "suspicious"),)), name="measured")
    assert [row.case_id for row in specimen_rows([synthetic, real], None, None, synthetic=False)] == [
        "measured"
    ]
    assert {row.case_id for row in specimen_rows([synthetic, real], None, None, synthetic=True)} == {
        "computed"
    }
    made = page(measured(synthetic, synthetic=True), NOON)
    assert "SYNTHETIC spectra: computed, not measured." in made
    assert "<title>SYNTHETIC" in made
    assert "SYNTHETIC" not in page(measured(real), NOON)


def test_months_stand_in_their_order() -> None:
    cases = [
        case(eight_faces().specimens[0], name=name, at=datetime(2031, month, 6, 12, tzinfo=UTC))
        for name, month in (("b", 6), ("a", 5), ("c", 6))
    ]
    months = measured(*cases).months
    assert [(one.month, one.cases, one.agreement.k, one.agreement.n) for one in months] == [
        ("2031-05", 1, 4, 6),
        ("2031-06", 2, 8, 12),
    ]


def test_the_sheets_hold_every_face_and_measure_and_nothing_that_a_spreadsheet_calculates() -> None:
    named = specimen(faces=("=1+1", "medial"), sweeps=(scanned("medial", "suspicious"),))
    rows = specimen_rows([case(named)], None, None, synthetic=False)
    first, second = csv.DictReader(io.StringIO(faces_csv(rows)))
    assert (first["face"], first["algorithm"], first["coverage"]) == ("'=1+1", "not_scanned", "")
    assert (second["face"], second["coverage"], second["re_excised"]) == ("medial", "0.98", "false")
    quality = measured(eight_faces())
    lines = list(csv.DictReader(io.StringIO(measures_csv(quality))))
    assert len(lines) == len((*quality.algorithm, *quality.interpreter, *quality.course, *quality.spreads))
    sensitivity = next(line for line in lines if line["measure"] == "sensitivity")
    assert (sensitivity["of"], sensitivity["k"], sensitivity["n"], sensitivity["value"]) == (
        "algorithm against pathology", "2", "3", "0.666667",
    )  # fmt: skip


def test_the_page_needs_nothing_from_elsewhere_and_says_what_counts() -> None:
    made = page(measured(eight_faces()), NOON)
    assert not re.search(r"(src|href)=|url\(|@import|https?://", made)
    assert "2 / 3" in made
    assert "tumour at ink, or close to it" in made
    assert "close to it counts as negative" in page(measured(eight_faces(), close_is_positive=False), NOON)
    assert "No case in this period." in page(measured(), NOON)
