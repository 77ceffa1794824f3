"""The last step of making an object: everything in it follows from its content, also its UID."""

from __future__ import annotations

import hashlib
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

from octmargin.dicom.uids import UidMaker

_OF_THE_MOMENT = ("InstanceCreationDate", "InstanceCreationTime", "ContributionDateTime")
"""When it was made again says nothing of it, and would make another object of it."""


def finish(dataset: Dataset, uids: UidMaker) -> Dataset:
    """`dataset` with a SOP Instance UID that follows from everything else in it."""
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
    digest = hashlib.sha256(encoded(dataset)).hexdigest()
    meta.MediaStorageSOPInstanceUID = UID(uids.uid("instance", digest))
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    return dataset


def encoded(dataset: Dataset) -> bytes:
    """The object as a DICOM file."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
