"""`python -m octmargin.report.one`: one report in one form, for a process that must neither wait nor compute for it.

What is wanted comes as JSON on standard input, the document goes to standard output: no file of it lies anywhere. That
somebody looked is noted in the record first. One line on standard error says what went wrong, with exit code 2.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from octmargin.case.record.store import CaseStore
from octmargin.errors import InputError, OctMarginError
from octmargin.report.building import build_report
from octmargin.report.coding import load_site, load_tables
from octmargin.report.document import ReportDocument
from octmargin.report.faces import KEY_VIEWS_SHOWN
from octmargin.report.html import render_html
from octmargin.report.pdf import render_pdf
from octmargin.report.pictures import draw_pictures
from octmargin.report.text import render_text
from octmargin.report.wanted import Wanted

_NICENESS = 10
"""It gives way to whatever scans on this machine."""


def make(wanted: Wanted) -> bytes:
    """The document; OctMarginError where there is none."""
    section, now = wanted.record, datetime.now(UTC)
    with CaseStore.open(section.file, writable=True, what="octmargin report") as store:
        case = store.consult(
            wanted.case_id, actor=wanted.actor, what=f"{wanted.what} of {wanted.specimen_id}"
        )
        specimen = case.specimen(wanted.specimen_id)
        if specimen is None:
            raise InputError(f"case {case.case_id}: has no specimen {wanted.specimen_id}")
        signature = specimen.signature
        signed = store.case_at(case.case_id, signature.log_seq + 1) if signature is not None else None
    document = build_report(
        case,
        specimen.specimen_id,
        pictures=draw_pictures(
            specimen,
            key_views=KEY_VIEWS_SHOWN,
            from_recordings=wanted.pictures,
            recordings=Path(wanted.recordings) if wanted.recordings else None,
        ),
        site=load_site(Path(section.coding_site) if section.coding_site else None, load_tables()),
        zone=section.zone,
        now=now,
        signed=signed,
    )
    return _rendered(document, wanted, now)


def _rendered(document: ReportDocument, wanted: Wanted, now: datetime) -> bytes:
    match wanted.form:
        case "pdf":
            return render_pdf(document, paper="a4" if wanted.record.paper == "a4" else "us-letter", now=now)
        case "html":
            return render_html(document).encode()
        case "text":
            return render_text(document).encode()


def main() -> int:
    """Read what is wanted, write it."""
    os.nice(_NICENESS)
    try:
        content = make(msgspec.json.decode(sys.stdin.buffer.read(), type=Wanted))
    except (OctMarginError, msgspec.MsgspecError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201 - what it is there for
        return 2
    sys.stdout.buffer.write(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
