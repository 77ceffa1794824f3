"""What is to be done, from the hospital's modality worklist: patients and orders as the case record keeps them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import PersonName as DicomName
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from octmargin.case.record.model import Order, OrderLaterality, PatientIdentity, PersonName
from octmargin.dicom.association import associated
from octmargin.dicom.settings import DicomSection
from octmargin.dicom.values import CHARACTER_SET, da
from octmargin.errors import ConfigError, InputError, PeerError, PeerUnreachableError

_PENDING = (0xFF00, 0xFF01)
_SUCCESS = 0x0000
_MOST = 500
_SIDES: dict[tuple[str, str], OrderLaterality] = {
    ("7771000", "SCT"): "left",
    ("24028007", "SCT"): "right",
    ("51440002", "SCT"): "bilateral",
    ("G-A101", "SRT"): "left",
    ("G-A100", "SRT"): "right",
    ("G-A102", "SRT"): "bilateral",
}
_ICD_10 = frozenset({"I10", "ICD10", "ICD-10", "ICD10CM", "ICD10-CM", "ICD-10CM", "ICD-10-CM"})
"""What DICOM (PS3.16) and hospitals call ICD-10 and its clinical modification."""
_ICD_10_CODE = re.compile(r"[A-Za-z][0-9][0-9A-Za-z](\.?[0-9A-Za-z]{1,4})?")
_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
_WORDS: dict[str, OrderLaterality] = {"left": "left", "right": "right", "bilateral": "bilateral"}


@dataclass(frozen=True, slots=True)
class Filters:
    """What to ask for; empty asks for all. `patient_id` and `accession` are exact, `name` may end with `*`."""

    day: date | None = None
    patient_id: str = ""
    accession: str = ""
    name: str = ""
    modality: str = ""
    for_us_alone: bool = False
    """Only what is scheduled for this application's own title."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One scheduled step.

    `diagnosis_codes` are those of ICD-10 as the worklist has them, not looked up. `problems` says in words what
    of it could not be taken over; where there is no patient id there is no patient.
    """

    patient: PatientIdentity | None
    order: Order
    diagnosis_codes: tuple[str, ...]
    at: datetime | None
    """When, by the hospital's clock: the worklist has no time zone unless it says so."""
    modality: str
    station: str
    step: str
    problems: tuple[str, ...] = ()


def query(settings: DicomSection, filters: Filters = Filters()) -> list[Scheduled]:
    """Ask the worklist; at most 500 entries, in the order of their times.

    ConfigError where none is configured, PeerUnreachableError where it does not answer, PeerError where it refuses or
    has more than that.
    """
    peer = settings.worklist
    if peer is None:
        raise ConfigError("dicom.worklist is not configured; add its table, or enter the case by hand")
    found: list[Scheduled] = []
    with associated(settings, peer, [ModalityWorklistInformationFind]) as association:
        for status, entry in association.send_c_find(
            _asked(settings, filters), ModalityWorklistInformationFind
        ):
            code = status.get("Status")
            if code in _PENDING and entry is not None:
                found.append(read_entry(entry))
            elif code is None:
                raise PeerUnreachableError(f"{peer}: stopped to answer; ask again")
            elif code != _SUCCESS:
                raise PeerError(f"{peer}: refuses the query with status {code:04X}H; check its configuration")
            if len(found) > _MOST:
                raise PeerError(
                    f"{peer}: has more than {_MOST} entries; ask for a day, a patient or an accession"
                )
    return sorted(found, key=lambda one: (one.at is None, one.at or datetime.min, one.order.accession))


def _asked(settings: DicomSection, filters: Filters) -> Dataset:
    """Every attribute that is to come back, empty where it does not matter."""
    step = Dataset()
    step.Modality = filters.modality
    step.ScheduledStationAETitle = settings.ae_title if filters.for_us_alone else ""
    step.ScheduledProcedureStepStartDate = da(filters.day)
    step.ScheduledProcedureStepStartTime = ""
    step.ScheduledProcedureStepDescription = ""
    step.ScheduledProcedureStepID = ""
    step.ScheduledProtocolCodeSequence = []
    asked = Dataset()
    asked.SpecificCharacterSet = CHARACTER_SET
    asked.ScheduledProcedureStepSequence = [step]
    asked.PatientName = filters.name
    asked.PatientID = filters.patient_id
    asked.AccessionNumber = filters.accession
    for keyword in (
        "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "RequestedProcedureID",
        "RequestedProcedureDescription", "TimezoneOffsetFromUTC",
    ):  # fmt: skip
        setattr(asked, keyword, "")
    asked.RequestedProcedureCodeSequence = []
    asked.AdmittingDiagnosesCodeSequence = []
    return asked


def read_entry(entry: Dataset) -> Scheduled:
    """An answer of the worklist in our words."""
    steps = entry.get("ScheduledProcedureStepSequence") or [Dataset()]
    step = steps[0]
    problems: list[str] = []
    codes = [
        *(entry.get("RequestedProcedureCodeSequence") or ()),
        *(step.get("ScheduledProtocolCodeSequence") or ()),
    ]
    procedure = _text(entry, "RequestedProcedureDescription") or next(
        (_text(code, "CodeMeaning") for code in codes), ""
    )
    described = (procedure, _text(step, "ScheduledProcedureStepDescription"))
    sides = _sides(codes, described)
    if len(sides) > 1:
        problems.append(f"it says {' and '.join(sides)}; find out which is right")
    order = Order(
        accession=_text(entry, "AccessionNumber"),
        requested_procedure_id=_text(entry, "RequestedProcedureID"),
        scheduled_step_id=_text(step, "ScheduledProcedureStepID"),
        study_uid=_uid(entry, problems),
        laterality=_laterality(sides),
        sides=sides if len(sides) > 1 else (),
        procedure=procedure,
        entered="worklist",
    )
    return Scheduled(
        patient=_patient(entry, problems),
        order=order,
        diagnosis_codes=tuple(_diagnosis_codes(entry, problems)),
        at=_instant(step, _text(entry, "TimezoneOffsetFromUTC"), problems),
        modality=_text(step, "Modality"),
        station=_text(step, "ScheduledStationAETitle"),
        step=_text(step, "ScheduledProcedureStepDescription"),
        problems=tuple(problems),
    )


def chosen(found: Sequence[Scheduled], accession: str) -> Scheduled:
    """The one entry of an accession number; InputError where there is none, or more than one."""
    matching = [one for one in found if one.order.accession == accession]
    if len(matching) != 1:
        known = ", ".join(sorted({one.order.accession for one in found if one.order.accession})) or "none"
        raise InputError(
            f"the worklist has {len(matching) or 'no'} entries of accession {accession!r}; it has {known}"
        )
    return matching[0]


def _patient(entry: Dataset, problems: list[str]) -> PatientIdentity | None:
    patient_id = _text(entry, "PatientID")
    if not patient_id:
        problems.append("it has no patient id")
        return None
    name = entry.get("PatientName") or DicomName("")
    sex = _text(entry, "PatientSex")
    return PatientIdentity(
        name=PersonName(
            family=str(name.family_name),
            given=str(name.given_name),
            middle=str(name.middle_name),
            prefix=str(name.name_prefix),
            suffix=str(name.name_suffix),
        ),
        patient_id=patient_id,
        issuer=_text(entry, "IssuerOfPatientID"),
        birth_date=_date(_text(entry, "PatientBirthDate"), "birth date", problems),
        sex=sex if sex in ("F", "M", "O") else "U",  # type: ignore[arg-type]
    )


def _uid(entry: Dataset, problems: list[str]) -> str:
    """That of the study; what is none is left out: objects with it would be refused by every archive."""
    uid = _text(entry, "StudyInstanceUID")
    if uid and not UID(uid, validation_mode=config.IGNORE).is_valid:
        problems.append(f"its study UID {uid!r} is none, and is left out")
        return ""
    return uid


def _laterality(sides: Sequence[OrderLaterality]) -> OrderLaterality:
    """The one side that is said; never guessed where there are none, or more."""
    return sides[0] if len(sides) == 1 else "unknown"


def _diagnosis_codes(entry: Dataset, problems: list[str]) -> Iterator[str]:
    """Those of ICD-10; a code of another scheme, or what is no code, is left out and told."""
    for item in entry.get("AdmittingDiagnosesCodeSequence") or ():
        code = next((text for name in _CODE_VALUES if (text := _text(item, name))), "")
        scheme = _text(item, "CodingSchemeDesignator")
        if scheme.upper() not in _ICD_10:
            problems.append(
                f"its diagnosis {code!r} is of {scheme or 'no scheme'}, not of ICD-10, and is left out"
            )
        elif not _ICD_10_CODE.fullmatch(code):
            problems.append(f"its diagnosis {code!r} is no code of ICD-10, and is left out")
        else:
            yield code


def _sides(codes: Sequence[Dataset], described: Sequence[str]) -> tuple[OrderLaterality, ...]:
    """Whatever the order says of the side, by codes or by words for a side in its descriptions, each once."""
    coded = {
        side
        for code in codes
        for item in _all_items(code)
        if (side := _SIDES.get((_text(item, "CodeValue"), _text(item, "CodingSchemeDesignator"))))
    }
    words = {
        _WORDS[word] for text in described for word in re.findall(r"[a-z]+", text.lower()) if word in _WORDS
    }
    return tuple(sorted(coded | words))


def _all_items(item: Dataset) -> list[Dataset]:
    """The item and every item in its sequences."""
    below = [inner for element in item if element.VR == "SQ" for inner in element.value]
    return [item, *(deeper for one in below for deeper in _all_items(one))]


def _instant(step: Dataset, offset: str, problems: list[str]) -> datetime | None:
    day = _date(_text(step, "ScheduledProcedureStepStartDate"), "scheduled date", problems)
    if day is None:
        return None
    text = _text(step, "ScheduledProcedureStepStartTime").partition(".")[0].ljust(6, "0")
    instant = datetime(day.year, day.month, day.day)
    with contextlib.suppress(ValueError):
        instant = datetime.combine(day, datetime.strptime(text, "%H%M%S").time())
    with contextlib.suppress(ValueError):
        return datetime.strptime(f"{instant:%Y%m%d%H%M%S}{offset}", "%Y%m%d%H%M%S%z").astimezone(UTC)
    return instant


def _date(text: str, what: str, problems: list[str]) -> date | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        problems.append(f"its {what} {text!r} is no date")
        return None


def _text(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    return "" if value is None else str(value).strip()
