"""A recording, or a file of spectra, through the whole chain: document, pictures and sheet. See docs/assess.md."""

from octmargin.assessment.face import AssessedFace, FaceAssessor
from octmargin.assessment.face_pictures import draw_numbers, panel_size
from octmargin.assessment.findings import Finding
from octmargin.assessment.key_bscan import key_bscan_image
from octmargin.assessment.record import Assessment, ClusterRecord, FaceRecord
from octmargin.assessment.specimen import DOCUMENT, SHEET, AssessmentSettings, assess_specimen
from octmargin.assessment.subject import FileSubject, Subject

__all__ = [
    "DOCUMENT",
    "SHEET",
    "AssessedFace",
    "Assessment",
    "AssessmentSettings",
    "ClusterRecord",
    "FaceAssessor",
    "FaceRecord",
    "FileSubject",
    "Finding",
    "Subject",
    "assess_specimen",
    "draw_numbers",
    "key_bscan_image",
    "panel_size",
]
