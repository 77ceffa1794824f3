"""What an action needs besides the phase that allows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.case.examples import (
    CASE,
    NOW,
    RADIOLOGIST,
    SPECIMEN,
    SURGEON,
    bodies,
    interpretation,
    new_store,
    opened,
    ready,
    registered,
    sweep,
)

from octmargin.case.record import events
from octmargin.case.record.model import (
    CaseSnapshot,
    Discontinuation,
    Interpreter,
    Order,
    PathologyResult,
    PatientIdentity,
    PersonName,
    ReExcision,
)
from octmargin.case.record.store import CaseStore
from octmargin.commands.case import case
from octmargin.errors import CaseRefusedError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    with new_store(tmp_path) as made:
        yield made


def tell(store: CaseStore, *said: events.CaseBody) -> CaseSnapshot:
    return store.append(CASE, *said, actor="anna", at=NOW)


def interpreted(**changes: Any) -> events.Interpreted:
    return events.Interpreted(specimen_id=SPECIMEN, interpretation=interpretation(**changes))


def pathology(finding: str, distance_mm: float) -> events.Correlated:
    result = PathologyResult(face="medial", finding=finding, distance_mm=distance_mm)  # type: ignore[arg-type]
    return events.Correlated(specimen_id=SPECIMEN, results=(result,))


REFUSED: dict[str, tuple[str, events.CaseBody, str]] = {
    "a face that is not there": (
        "scanned", interpreted(state="preliminary", middle="suspicious"),
        'has no face "middle"; its faces: medial, lateral',
    ),
    "nothing suspicious where nothing was seen": (
        "scanned", interpreted(lateral="nothing_suspicious"), "nothing of lateral was seen",
    ),
    "a final interpretation that leaves a face out": (
        "scanned",
        events.Interpreted(
            specimen_id=SPECIMEN, interpretation=replace(interpretation(), faces=interpretation().faces[:1])
        ),
        "says something of every face; missing: lateral",
    ),
    "a face that is named twice": (
        "scanned",
        events.Interpreted(
            specimen_id=SPECIMEN, interpretation=replace(interpretation(), faces=interpretation().faces * 2)
        ),
        "face medial is named twice",
    ),
    "somebody else's signature": (
        "final", events.Signed(specimen_id=SPECIMEN, by=RADIOLOGIST),
        "is by Dr. Ada Reyes, operating surgeon, who alone can sign it",
    ),
    "the same sweep again": (
        "scanned", events.Swept(specimen_id=SPECIMEN, sweep=sweep(coverage=1.0)), "is in the record already",
    ),
    "formalin before excision": (
        "registered", events.Fixed(specimen_id=SPECIMEN, formalin_at=NOW - timedelta(hours=2)),
        "formalin at .* is before its excision",
    ),
    "an excision that is yet to come": (
        "registered", events.Described(specimen_id=SPECIMEN, excised_at=NOW + timedelta(minutes=10)),
        "is not yet; correct the time, or the clock",
    ),
    "pathology of a face that is not there": (
        "signed",
        events.Correlated(specimen_id=SPECIMEN, results=(PathologyResult(face="top", finding="negative"),)),
        'has no face "top"',
    ),
    "a positive margin far from the tumour": (
        "signed", pathology("positive", 9.0), "is positive at 9 mm, and tumour at ink is at 0 mm; correct",
    ),
    "a negative margin at ink": ("signed", pathology("negative", 0.0), "tumour at 0 mm is at ink, and positive"),
    "a distance of what was not assessed": (
        "signed", pathology("not_assessed", 1.0), "what was not assessed has no distance",
    ),
    "more tissue from a face that is not there": (
        "scanned",
        events.ReExcised(specimen_id=SPECIMEN, re_excision=ReExcision(face="top", at=NOW, why="x", by="y")),
        'has no face "top"',
    ),
    "more tissue, nobody knows why": (
        "scanned",
        events.ReExcised(specimen_id=SPECIMEN, re_excision=ReExcision(face="medial", at=NOW, why="", by="y")),
        "say who decided it, and why",
    ),
    "given up without a reason": (
        "scanned",
        events.Discontinued(
            specimen_id=SPECIMEN, discontinuation=Discontinuation(at=NOW, by="Dr. Reyes", why="")
        ),
        "say who gave it up, and why",
    ),
    "withdrawn without a reason": (
        "scanned", events.Withdrawn(specimen_id=SPECIMEN, why=""), "say why it is withdrawn",
    ),
    "an empty addendum": (
        "signed", events.Addended(specimen_id=SPECIMEN, by=SURGEON, text=" "), "say the text",
    ),
    "a name for an identifier": ("registered", registered("Jane Doe"), "must not be a patient's name"),
    "no face": ("registered", registered("two", faces=()), "has no face"),
    "a planned face twice": ("registered", registered("two", faces=("medial", "medial")), "medial is named twice"),
    "a specimen that is not registered": (
        "registered", bodies("two")["sweep"], "specimen two: is not registered; registered are: specimen-1",
    ),
}  # fmt: skip


def test_a_refusal_names_commands_and_what_comes_first(store: CaseStore) -> None:
    ready(store)
    with pytest.raises(CaseRefusedError) as refused:
        tell(store, bodies()["sign"])
    first, _, possible = str(refused.value).partition("; possible: ")
    assert first.endswith("`sign` is not possible before it was scanned: take a recording first")
    commands = {command.name or command.callback.__name__ for command in case.registered_commands}
    assert {"take", "formalin", "pathology"} <= {name.split()[0] for name in possible.split(", ")} <= commands
    tell(store, bodies()["sweep"])
    with pytest.raises(
        CaseRefusedError, match="before its interpretation is final: `interpret --final` first"
    ):
        tell(store, bodies()["sign"])


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_words_and_leaves_no_trace(store: CaseStore, name: str) -> None:
    phase, body, text = REFUSED[name]
    ready(store, phase)
    log = list(store.events())
    with pytest.raises(CaseRefusedError, match=text) as refused:
        tell(store, body)
    assert "\n" not in str(refused.value)
    assert list(store.events()) == log


@pytest.mark.parametrize(
    ("missing", "text"), [("identify", "who the patient is"), ("indicate", "indication")]
)
def test_a_report_without_patient_or_indication_is_not_signed(
    store: CaseStore, missing: str, text: str
) -> None:
    opened(store)
    said = bodies()
    steps = [step for step in ("identify", "indicate", "register", "sweep", "finalise") if step != missing]
    tell(store, *(said[step] for step in steps))
    with pytest.raises(CaseRefusedError, match=text):
        tell(store, said["sign"])


ANOTHER = PatientIdentity(name=PersonName(family="Other", given="Patient"), patient_id="0002")


def test_another_patient_needs_a_reason_and_makes_a_final_interpretation_preliminary(
    store: CaseStore,
) -> None:
    ready(store, "final")
    with pytest.raises(CaseRefusedError, match=r"is recorded as of patient 0001, not 0002; .* --why"):
        tell(store, events.Identified(patient=ANOTHER))
    assert tell(store, bodies()["identify"]).specimens[0].phase == "final"
    case = tell(store, events.Identified(patient=ANOTHER, why="the wrong wristband was read"))
    interpreted = case.specimens[0].interpretation
    assert interpreted is not None
    assert (case.patient, case.specimens[0].phase, interpreted.state) == (
        ANOTHER,
        "preliminary",
        "preliminary",
    )


def test_another_spelling_of_the_name_needs_no_reason_and_makes_it_preliminary(store: CaseStore) -> None:
    ready(store, "final")
    case = tell(store, events.Identified(patient=replace(ANOTHER, patient_id="0001")))
    assert case.specimens[0].phase == "preliminary"


def test_an_identifier_of_a_case_fits_the_bus(store: CaseStore) -> None:
    for wrong in ("", "Jane Doe", "a/b", "ä", "x" * 65):
        with pytest.raises(CaseRefusedError, match="goes on the bus"):
            opened(store, wrong)


def test_a_case_that_is_not_there_is_told(store: CaseStore) -> None:
    with pytest.raises(CaseRefusedError, match="case nowhere: there is none"):
        store.append("nowhere", bodies()["indicate"], actor="anna", at=NOW)
    with pytest.raises(CaseRefusedError, match="case nowhere: there is none"):
        store.case("nowhere")


def test_a_provisional_sweep_gives_way_to_what_came_of_it(store: CaseStore) -> None:
    ready(store)
    tell(store, events.Swept(specimen_id=SPECIMEN, sweep=sweep(provisional=True, coverage=0.2)))
    specimen = tell(store, events.Swept(specimen_id=SPECIMEN, sweep=sweep())).specimens[0]
    assert [(one.provisional, one.coverage) for one in specimen.sweeps] == [(False, 0.98)]


def test_a_whole_sweep_that_is_begun_after_it_was_given_up_ends_that(store: CaseStore) -> None:
    ready(store, "discontinued")
    later = NOW + timedelta(minutes=1)
    for body, is_given_up in (
        (sweep(number=2, started_at=NOW - timedelta(minutes=1)), True),
        (sweep(number=3, started_at=later, provisional=True, ended_at=None), True),
        (sweep(number=3, started_at=later), False),
    ):
        case = tell(store, events.Swept(specimen_id=SPECIMEN, sweep=body))
        assert (case.specimens[0].discontinued is not None) == is_given_up


def test_a_sweep_over_a_face_that_was_not_planned_is_kept(store: CaseStore) -> None:
    ready(store)
    specimen = tell(store, events.Swept(specimen_id=SPECIMEN, sweep=sweep("cavity"))).specimens[0]
    assert specimen.faces == ("medial", "lateral", "cavity")


def test_a_signature_names_the_log_it_stands_on(store: CaseStore) -> None:
    ready(store, "final")
    head = store.head()
    signature = tell(store, bodies()["sign"]).specimens[0].signature
    assert signature is not None
    assert (signature.log_seq, signature.log_head, signature.at) == (head.seq, head.hash, NOW)


def test_what_was_signed_can_be_shown_as_it_was(store: CaseStore) -> None:
    ready(store, "signed")
    then = store.case(CASE)
    said = bodies()
    tell(store, said["addend"], said["correlate"], said["re-operate"])
    assert store.case_at(CASE, then.log_seq) == then
    assert store.case(CASE).specimens[0] != then.specimens[0]


def test_when_it_went_into_formalin_may_be_said_after_signing_once(store: CaseStore) -> None:
    ready(store, "signed")
    assert tell(store, bodies()["fix"]).specimens[0].formalin_at == NOW
    with pytest.raises(CaseRefusedError, match="its signed report says when it went into formalin"):
        tell(store, events.Fixed(specimen_id=SPECIMEN, formalin_at=NOW - timedelta(minutes=5)))


def test_addenda_are_numbered(store: CaseStore) -> None:
    ready(store, "signed")
    case = tell(store, bodies()["addend"], bodies()["addend"])
    assert [addendum.number for addendum in case.specimens[0].addenda] == [1, 2]


def test_nobody_interprets_or_adds_without_a_name(store: CaseStore) -> None:
    ready(store, "signed")
    blank = Interpreter(name=" ", role="radiologist")
    with pytest.raises(CaseRefusedError, match="say by name who adds it"):
        tell(store, events.Addended(specimen_id=SPECIMEN, by=blank, text="seen"))
    tell(store, registered("other"), events.Swept(specimen_id="other", sweep=sweep(number=7)))
    with pytest.raises(CaseRefusedError, match="say by name who interprets"):
        tell(store, events.Interpreted(specimen_id="other", interpretation=interpretation(by=blank)))


def test_of_two_interpreters_the_last_one_signs(store: CaseStore) -> None:
    ready(store, "final")
    tell(store, interpreted(by=RADIOLOGIST))
    with pytest.raises(CaseRefusedError, match=r"is by Dr\. Ben Okafor, radiologist"):
        tell(store, bodies()["sign"])
    same_name = Interpreter(name=RADIOLOGIST.name, role="operating surgeon")
    with pytest.raises(CaseRefusedError, match=r"is by Dr\. Ben Okafor, radiologist"):
        tell(store, events.Signed(specimen_id=SPECIMEN, by=same_name))
    assert tell(store, events.Signed(specimen_id=SPECIMEN, by=RADIOLOGIST)).specimens[0].phase == "signed"


@pytest.mark.parametrize(
    "body",
    [
        events.Ordered(order=Order(accession="A-17 is much too long")),
        events.Ordered(order=Order(requested_procedure_id="with\\backslash")),
        events.Ordered(order=Order(scheduled_step_id="two  spaces")),
        events.Identified(patient=PatientIdentity(name=PersonName(family="x"), patient_id="a\nb")),
        events.Identified(
            patient=PatientIdentity(name=PersonName(family="x" * 60, given="y" * 9), patient_id="1")
        ),
    ],
)
def test_an_identifier_that_dicom_cannot_say_is_refused_before_it_is_signed(
    store: CaseStore, body: events.CaseBody
) -> None:
    opened(store)
    with pytest.raises(CaseRefusedError, match="DICOM takes"):
        tell(store, body)
