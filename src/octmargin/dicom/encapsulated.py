"""The report of a specimen as an Encapsulated PDF."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset

from octmargin import __version__
from octmargin.case.telling import told_at
from octmargin.dicom.codes import own
from octmargin.dicom.finishing import finish
from octmargin.dicom.subject import MAKER, Subject, series_text
from octmargin.dicom.values import code_item, da, dt, short, tm
from octmargin.errors import InputError
from octmargin.terminology import REPORT

SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.104.1"


def pdf_object(subject: Subject, pdf: bytes, number: int) -> Dataset:
    """`pdf` as a document of the study; `number` is that of its series. InputError where it is no PDF."""
    if not pdf.startswith(b"%PDF-"):
        raise InputError(
            f"the report of {subject.specimen.specimen_id} is no PDF; make it with `octmargin report`"
        )
    specimen, at = subject.specimen, told_at(subject.specimen)
    document = subject.header(has_side=False)
    document.SOPClassUID = SOP_CLASS
    document.Modality = "DOC"
    document.SeriesInstanceUID = subject.uid("document", specimen.specimen_id)
    document.SeriesNumber = number
    document.InstanceNumber = 1 + len(specimen.addenda)
    document.SeriesDescription = series_text(subject, "OCT margin report", synthetic=specimen.is_synthetic)
    document.Manufacturer = document.ManufacturerModelName = MAKER
    document.SoftwareVersions = short(f"octmargin {__version__}", 64)
    document.ConversionType = "WSD"
    document.SeriesDate = document.ContentDate = da(at)
    document.SeriesTime = document.ContentTime = tm(at)
    document.AcquisitionDateTime = dt(max((sweep.started_at for sweep in specimen.sweeps), default=at))
    # The report names the patient on its pages.
    document.BurnedInAnnotation = "YES"
    document.DocumentTitle = short(
        f"{'SYNTHETIC ' if specimen.is_synthetic else ''}OCT margin report, {state_text(subject)}", 64
    )
    document.ConceptNameCodeSequence = [code_item(own(REPORT))]
    document.VerificationFlag = "VERIFIED" if specimen.signature else "UNVERIFIED"
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return finish(document, subject.uids)


def state_text(subject: Subject) -> str:
    """How far the report is: preliminary, final or amended."""
    specimen = subject.specimen
    if specimen.addenda:
        return "amended"
    return "final" if specimen.signature else "preliminary"
