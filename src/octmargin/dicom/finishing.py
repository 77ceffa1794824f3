"""The last step of making an object: its UID follows from its content.

Not from who wrote it down, nor from what came before it: after an update of octmargin, or sent again after its
successor, an object is the same one.
"""

from __future__ import annotations

import hashlib
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

from octmargin.dicom.uids import UidMaker

_OF_THE_MOMENT = ("InstanceCreationDate", "InstanceCreationTime", "ContributionDateTime")
"""When it was made again says nothing of it, and would make another object of it."""
_NOT_CONTENT = ("SoftwareVersions", "ContributingEquipmentSequence", "PredecessorDocumentsSequence")


def finish(dataset: Dataset, uids: UidMaker) -> Dataset:
    """`dataset` with a SOP Instance UID that follows from its content."""
    for part in (dataset, *dataset.get("ContributingEquipmentSequence", ())):
        for keyword in _OF_THE_MOMENT:
            if keyword in part:
                delattr(part, keyword)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = UID("2.25.0")
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    meta.MediaStorageSOPInstanceUID = UID(uids.uid("instance", _digest(dataset)))
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    return dataset


def _digest(dataset: Dataset) -> str:
    content = Dataset()
    content.update({element.tag: element for element in dataset if element.keyword not in _NOT_CONTENT})
    buffer = BytesIO()
    dcmwrite(buffer, content, implicit_vr=False, little_endian=True)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def encoded(dataset: Dataset) -> bytes:
    """The object as a DICOM file."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
