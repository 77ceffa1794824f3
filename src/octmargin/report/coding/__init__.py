"""Codes around the report: what the source document says, what the official sets say, what a case supports.

See docs/coding.md. Nothing here is a claim: the coding sheet is a suggestion for a coder.
"""

from octmargin.report.coding.diagnosis import DiagnosisCheck, OfferedCode, check_diagnosis
from octmargin.report.coding.sheet import CodingSheet, coding_sheet
from octmargin.report.coding.site import NOT_AVAILABLE, Payer, SiteCoding, SiteOfService, load_site
from octmargin.report.coding.suggest import Suggestion, suggest
from octmargin.report.coding.tables import Certainty, CodeRow, CodeTable, Conflict, Tables, load_tables
from octmargin.report.coding.taxonomy import TaxonomyCheck, check_taxonomy

__all__ = [
    "NOT_AVAILABLE",
    "Certainty",
    "CodeRow",
    "CodeTable",
    "CodingSheet",
    "Conflict",
    "DiagnosisCheck",
    "OfferedCode",
    "Payer",
    "SiteCoding",
    "SiteOfService",
    "Suggestion",
    "Tables",
    "TaxonomyCheck",
    "check_diagnosis",
    "check_taxonomy",
    "coding_sheet",
    "load_site",
    "load_tables",
    "suggest",
]
