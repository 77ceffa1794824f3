"""Whom an object is about: patient, study, specimen and equipment, the same in every object of a specimen."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from octmargin import __version__, terminology
from octmargin.case.record.model import CaseSnapshot, PatientIdentity, SpecimenRecord, SweepRecord, Versions
from octmargin.case.telling import specimen_to_tell
from octmargin.dicom.codes import BODY_PARTS, FACES, SIDES, SITES, SPECIMEN_TYPES
from octmargin.dicom.settings import DicomSection
from octmargin.dicom.uids import UidMaker
from octmargin.dicom.values import CHARACTER_SET, UTC_OFFSET, code_item, da, dt, exactly, pn, short, tm
from octmargin.words import NOTICE

MAKER = "octmargin"
_LATERALITY = {"left": "L", "right": "R"}


@dataclass(frozen=True, slots=True)
class Subject:
    """A specimen of a case and how this site writes of it; `of` makes one."""

    case: CaseSnapshot
    specimen: SpecimenRecord
    patient: PatientIdentity
    uids: UidMaker
    institution: str

    @classmethod
    def of(cls, case: CaseSnapshot, specimen_id: str, settings: DicomSection) -> Subject:
        """InputError where nothing may be sent of it: no patient, a contradiction, withdrawn, or not there."""
        specimen = specimen_to_tell(case, specimen_id)
        assert case.patient is not None  # noqa: S101 - `specimen_to_tell` checks it
        return cls(case, specimen, case.patient, UidMaker(settings.uid_root), settings.institution)

    @property
    def study_uid(self) -> str:
        """That of the order; of a case without one, made from the case."""
        order = self.case.order
        return (order.study_uid if order else "") or self.uid("study")

    @property
    def specimen_uid(self) -> str:
        """Of the specimen in every object about it."""
        return self.uid("specimen", self.specimen.specimen_id)

    @property
    def number(self) -> int:
        """The specimen's place in the case, from 1."""
        return 1 + [one.specimen_id for one in self.case.specimens].index(self.specimen.specimen_id)

    @property
    def name(self) -> str:
        """The specimen in words, such as "left lumpectomy A"."""
        specimen = self.specimen
        side = "" if specimen.laterality == "unknown" else specimen.laterality
        return " ".join(part for part in (side, specimen.kind, specimen.label) if part)

    def uid(self, *names: object) -> str:
        """A UID of something in this case: cases of one name differ in when they were opened."""
        return self.uids.uid(self.case.case_id, self.case.opened_at.isoformat(), *names)

    def header(self, *, has_side: bool = True) -> Dataset:
        """Patient and study; `has_side` where the object shows the specimen."""
        header = Dataset()
        header.SpecificCharacterSet = CHARACTER_SET
        header.TimezoneOffsetFromUTC = UTC_OFFSET
        header.CodingSchemeIdentificationSequence = [_coding_scheme()]
        _identify(header, self.patient)
        _place(header, self)
        if self.institution:
            header.InstitutionName = short(self.institution, 64)
        if has_side:
            header.BodyPartExamined = BODY_PARTS[self.specimen.kind]
            if self.specimen.laterality in _LATERALITY:
                header.ImageLaterality = _LATERALITY[self.specimen.laterality]
        return header

    def complete(self, made: Dataset) -> None:
        """Add what a library that made an object left out of patient and study."""
        made.update(
            {element.tag: element for element in self.header(has_side=False) if element.tag not in made}
        )

    def describe_specimen(self, header: Dataset) -> None:
        """Add the specimen module."""
        specimen = self.specimen
        header.ContainerIdentifier = exactly(specimen.container or specimen.specimen_id, 64, "container")
        header.IssuerOfTheContainerIdentifierSequence = []
        header.ContainerTypeCodeSequence = []
        item = Dataset()
        item.SpecimenIdentifier = exactly(specimen.specimen_id, 64, "specimen")
        item.IssuerOfTheSpecimenIdentifierSequence = []
        item.SpecimenUID = self.specimen_uid
        if specimen.kind in SPECIMEN_TYPES:
            item.SpecimenTypeCodeSequence = [code_item(SPECIMEN_TYPES[specimen.kind])]
        item.SpecimenShortDescription = short(self.name, 64)
        item.SpecimenDetailedDescription = orientation_text(specimen)
        item.SpecimenPreparationSequence = []
        site = code_item(SITES[specimen.kind])
        if specimen.laterality in SIDES:
            site.PrimaryAnatomicStructureModifierSequence = [code_item(SIDES[specimen.laterality])]
        item.PrimaryAnatomicStructureSequence = [site]
        header.SpecimenDescriptionSequence = [item]


def series_text(subject: Subject, what: str, *, synthetic: bool) -> str:
    """A series description; synthetic data is called so before anything else."""
    return short(f"{'SYNTHETIC ' if synthetic else ''}{what}, {subject.name}", 64)


def remarks(sweep: SweepRecord, more: str = "") -> str:
    """What has to be said with every picture of a sweep."""
    synthetic = f"{terminology.SYNTHETIC.display}. " if sweep.synthetic else ""
    return f"{synthetic}{NOTICE}{' ' if more else ''}{more}"


def orientation_text(specimen: SpecimenRecord) -> str:
    """What is known of how the specimen lay in the body."""
    told = f"Orientation: {specimen.orientation}." if specimen.orientation else "Orientation: not recorded."
    return f"{told} Faces are those of the specimen as it lay in the body, laterality {specimen.laterality}."


def face_text(face: str) -> str:
    """A face in words; a shave or node is named as it was scanned."""
    return f"{face} face" if face in FACES else face


def console(header: Dataset, versions: Versions) -> None:
    """The console as the equipment that made it."""
    header.Manufacturer = short(versions.console_maker, 64)
    header.ManufacturerModelName = short(versions.console_model or "OCT console", 64)
    header.DeviceSerialNumber = short(versions.console_serial or "unknown", 64)
    header.SoftwareVersions = software(versions)


def software(versions: Versions) -> list[str]:
    """Software of what is written here: ours, and the console's firmware."""
    told = [short(f"octmargin {__version__}", 64)]
    if versions.console_firmware:
        told.append(short(f"firmware {versions.console_firmware}", 64))
    return told


def _coding_scheme() -> Dataset:
    scheme = Dataset()
    scheme.CodingSchemeDesignator = terminology.DESIGNATOR
    scheme.CodingSchemeUID = terminology.UID
    scheme.CodingSchemeName = terminology.NAME
    scheme.CodingSchemeVersion = terminology.VERSION
    return scheme


def _identify(header: Dataset, patient: PatientIdentity) -> None:
    header.PatientName = pn(patient.name)
    header.PatientID = exactly(patient.patient_id, 64, "patient id")
    if patient.issuer:
        header.IssuerOfPatientID = exactly(patient.issuer, 64, "issuer of the patient id")
    header.PatientBirthDate = da(patient.birth_date)
    # DICOM has no word for a sex that is not known; it may be empty.
    header.PatientSex = "" if patient.sex == "U" else patient.sex


def _place(header: Dataset, subject: Subject) -> None:
    case, order = subject.case, subject.case.order
    header.StudyInstanceUID = subject.study_uid
    header.StudyDate = da(case.opened_at)
    header.StudyTime = tm(case.opened_at)
    header.StudyID = case.case_id if len(case.case_id) <= 16 else ""
    header.ReferringPhysicianName = ""
    header.AccessionNumber = exactly(order.accession, 16, "accession number") if order else ""
    header.StudyDescription = short(
        (order.procedure if order else "") or "Intraoperative OCT of excised tissue", 64
    )
    if order and order.requested_procedure_id:
        request = Dataset()
        request.RequestedProcedureID = exactly(order.requested_procedure_id, 16, "requested procedure id")
        if order.scheduled_step_id:
            request.ScheduledProcedureStepID = exactly(order.scheduled_step_id, 16, "scheduled step id")
        header.RequestAttributesSequence = [request]


def acquired(header: Dataset, sweep: SweepRecord) -> None:
    """When: of the series, the acquisition and the content."""
    header.SeriesDate = header.ContentDate = da(sweep.started_at)
    header.SeriesTime = header.ContentTime = tm(sweep.started_at)
    header.AcquisitionDateTime = dt(sweep.started_at)
