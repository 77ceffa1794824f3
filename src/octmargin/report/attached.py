"""Whether a PDF that is to go out beside a specimen's findings is the report of that specimen, as it stands now."""

from __future__ import annotations

import re

from octmargin.case.record.model import CaseSnapshot
from octmargin.errors import InputError
from octmargin.report.building import subject_of
from octmargin.report.standing import state_of

_INFO = re.compile(
    rb"/Title<FEFF((?:[0-9A-F]{4})+)>/Keywords\(OCT, margin assessment, (\w+), addenda (\d+)\)"
)
"""As typst writes what the template says of the document."""


def check_attached(pdf: bytes, case: CaseSnapshot, specimen_id: str, name: str) -> str:
    """What cannot be known of it, in words, empty where all is well; `name` is the file's.

    InputError where it is no PDF, or the report of another specimen or of another state than the record's.
    """
    if not pdf.startswith(b"%PDF-"):
        raise InputError(f"--report {name}: is no PDF; make it with `octmargin report`")
    specimen = case.specimen(specimen_id)
    found = _INFO.search(pdf)
    if specimen is None or found is None:
        return f"{name}: octmargin did not write it; whether it is the report of {specimen_id} is not known"
    title, state, addenda = (
        bytes.fromhex(found[1].decode()).decode("utf-16-be"),
        found[2].decode(),
        int(found[3]),
    )
    if not title.endswith(subject_of(case, specimen)):
        raise InputError(
            f"--report {name}: is of another specimen ({title}); name the report of {specimen_id}"
        )
    if (state, addenda) != (state_of(specimen), len(specimen.addenda)):
        raise InputError(
            f"--report {name}: is {state} with {addenda} addenda, and {specimen_id} is {state_of(specimen)} with "
            f"{len(specimen.addenda)}; make it anew with `octmargin report`"
        )
    return ""
