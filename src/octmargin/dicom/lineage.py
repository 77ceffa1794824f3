"""Which version of a document came before it (PS3.3 C.17.2 and C.24.2, Predecessor Documents Sequence).

A signed report is never changed: an addendum makes another document of the same series, which names the one that it
takes the place of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import msgspec
from pydicom.dataset import Dataset

from octmargin.case.record.model import SpecimenPhase
from octmargin.dicom.subject import Subject

Preceding = Callable[[str, str], str | None]
"""Of a series and a SOP Instance UID: that of the object of the series which was put before it; None where none was."""


def none_known(_series: str, _uid: str) -> None:
    """Where nothing is known of what was sent."""


def states_of(subject: Subject) -> list[Subject]:
    """The report as it was signed, and with one addendum more each; the newest is last. Unsigned, it has one state."""
    specimen = subject.specimen
    if specimen.signature is None:
        return [subject]
    return [
        replace(
            subject,
            specimen=msgspec.structs.replace(
                specimen,
                addenda=specimen.addenda[:count],
                phase=SpecimenPhase.AMENDED if count else SpecimenPhase.SIGNED,
            ),
        )
        for count in range(len(specimen.addenda) + 1)
    ]


def in_their_order(versions: Sequence[Dataset], preceding: Preceding) -> Iterator[Dataset]:
    """The newest of `versions`, one document, with what came before it.

    Where nothing of it was put before, all are given, oldest first: what is named as a predecessor is to be there.
    """
    newest = versions[-1]
    known = preceding(newest.SeriesInstanceUID, newest.SOPInstanceUID)
    if known is not None:
        follow(newest, newest.SOPClassUID, known)
        yield newest
        return
    for before, after in pairwise(versions):
        follow(after, before.SOPClassUID, before.SOPInstanceUID)
    yield from versions


def follow(document: Dataset, sop_class: str, uid: str) -> None:
    """Name an instance of the document's own series as what it takes the place of."""
    instance = Dataset()
    instance.ReferencedSOPClassUID = sop_class
    instance.ReferencedSOPInstanceUID = uid
    series = Dataset()
    series.SeriesInstanceUID = document.SeriesInstanceUID
    series.ReferencedSOPSequence = [instance]
    study = Dataset()
    study.StudyInstanceUID = document.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    document.PredecessorDocumentsSequence = [study]
