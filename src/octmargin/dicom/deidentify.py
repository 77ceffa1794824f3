"""De-identified objects after the Basic Application Level Confidentiality Profile of PS3.15.

The table of attributes is that of the library dicom-anonymizer (edition 2026c). Our own are the options Clean
Structured Content and Clean Descriptors: content and descriptions are kept, since they were made anew from a case
without identities (`octmargin.dicom.pseudonym`); and that references between objects stay, with the UIDs that these
have then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from io import BytesIO

from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions, keep
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from octmargin.case.record.model import CaseSnapshot
from octmargin.case.telling import specimen_to_tell
from octmargin.dicom.finishing import encoded
from octmargin.dicom.objects import objects_of
from octmargin.dicom.pseudonym import Identities, pseudonym_of_specimen, without_identity
from octmargin.dicom.settings import DicomSection
from octmargin.dicom.values import code_item, exactly, pn
from octmargin.dicom.vocabulary import VOCABULARY
from octmargin.errors import InputError

EDITION = "2026c"
_Rule = Callable[[Dataset, tuple[int, ...]], None]
_CLEAN = {
    (0x0008, 0x1030): "StudyDescription",
    (0x0008, 0x103E): "SeriesDescription",
    (0x0020, 0x4000): "ImageComments",
    (0x0040, 0x0600): "SpecimenShortDescription",
    (0x0040, 0x0602): "SpecimenDetailedDescription",
    (0x0040, 0xA730): "ContentSequence",
}
"""Kept by the two options: made anew, without an identity."""
_REFERENCES = {
    (0x0008, 0x2112): "SourceImageSequence",
    (0x0008, 0x1140): "ReferencedImageSequence",
}
"""X/Z/U* of the table: the sequence is kept, and the UIDs in it are replaced."""
_DUMMIES = {"DA": "19000101", "DT": "19000101000000", "TM": "000000"}
_TEXTS = frozenset(("AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"))


def deidentified_objects(
    case: CaseSnapshot,
    specimen_id: str,
    pseudonym: str,
    *,
    depth: int | None = None,
    on_left_out: Callable[[str], object] = lambda _: None,
) -> Iterator[Dataset]:
    """Volumes, maps and findings of a specimen, of a patient called `pseudonym`; the report is left out.

    The report names people on its pages. InputError as `objects_of` says, or where a word that tells who somebody is
    would be in an object all the same: it is not given out then.
    """
    specimen_to_tell(case, specimen_id)
    _check_pseudonym(case, pseudonym)
    anonymous = without_identity(case, pseudonym)
    renamed = pseudonym_of_specimen(case, specimen_id)
    # A pseudonym is looked at with the whole record: here, what every export says tells nothing of anybody.
    identities = Identities(case, VOCABULARY.union(pseudonym.lower().split()))
    for made in objects_of(anonymous, renamed, DicomSection(), depth=depth, on_left_out=on_left_out):
        dataset = deidentify(dcmread(BytesIO(encoded(made))), pseudonym)
        left = {found for text in _texts_of(dataset) for found in identities.found_in(text)}
        if left:
            raise InputError(
                f"a de-identified {dataset.Modality} object would hold {', '.join(sorted(left))}, which the record "
                "has as somebody's name or number; it is not written"
            )
        yield dataset


def deidentify(dataset: Dataset, pseudonym: str) -> Dataset:
    """Apply the profile to an object, in place; its patient is called `pseudonym` afterwards."""
    rules = _rules()
    # Have every element read before: the library reads those of replaced sequences in a way that pydicom gives up.
    deque(dataset.iterall(), maxlen=0)
    _apply(dataset, rules)
    dataset.PatientName, dataset.PatientID = pn(pseudonym), pseudonym
    dataset.PatientBirthDate = ""
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = f"PS3.15 {EDITION} Basic Profile, dicom-anonymizer; made anew"
    dataset.DeidentificationMethodCodeSequence = [
        code_item(codes.DCM.BasicApplicationConfidentialityProfile),
        code_item(codes.DCM.CleanStructuredContentOption),
        code_item(codes.DCM.CleanDescriptorsOption),
    ]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _check_pseudonym(case: CaseSnapshot, pseudonym: str) -> None:
    if not pseudonym.strip("^= "):
        raise InputError(
            "the pseudonym is empty; name the patient by something that says nothing of who it is"
        )
    exactly(pseudonym, 64, "pseudonym")
    told = Identities(case, ()).found_in(pseudonym)
    if told:
        raise InputError(
            f"the pseudonym {pseudonym!r} has {', '.join(sorted(told))} in it, which the record has as somebody's name "
            "or number; choose another"
        )


def _rules() -> dict[tuple[int, ...], _Rule]:
    rules: dict[tuple[int, ...], _Rule] = initialize_actions(f"dicomfields_{EDITION}")
    return rules | dict.fromkeys((*_CLEAN, *_REFERENCES), keep)


def _apply(dataset: Dataset, rules: dict[tuple[int, ...], _Rule]) -> None:
    """The library's rules hold for the elements of one dataset; those of items are its, too."""
    anonymize_dataset(dataset, base_rules_gen=lambda: dict(rules))
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _apply(item, rules)
        elif element.VR in _DUMMIES and element.value:
            # Whatever date is left: the library's own dummy, the year 1, is none that every reader takes.
            element.value = _DUMMIES[element.VR]


def _texts_of(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _texts_of(item)
        elif element.VR in _TEXTS:
            yield from (str(value) for value in (element.value if element.VM > 1 else [element.value]))
