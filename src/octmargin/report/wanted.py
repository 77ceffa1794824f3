"""What `octmargin.report.one` is asked for: apart from it, for whoever asks needs nothing of what it computes with."""

from __future__ import annotations

from typing import Literal

import msgspec

from octmargin.record_settings import RecordSection

Form = Literal["html", "pdf", "text"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which report, in which form, for whom; `pictures` from the recordings, which takes its time."""

    record: RecordSection
    case_id: str
    specimen_id: str
    form: Form
    pictures: bool = False
    recordings: str = ""
    actor: str
    what: str = "report at the display"
