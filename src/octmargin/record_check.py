"""Whether the record of the configuration can be used: before a scan, and for `octmargin doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from octmargin.case.record.retention import expired
from octmargin.case.record.store import CaseStore
from octmargin.device import Finding
from octmargin.errors import ConfigError, InputError, RecordError
from octmargin.interruptible import StandstillError, within
from octmargin.record_settings import RecordSection
from octmargin.report.coding import check_taxonomy, load_site, load_tables
from octmargin.words import counted

_RECORD_S = 2.0
"""So long the disk of the record may take to open it."""


def check_record(section: RecordSection) -> None:
    """ConfigError where the record cannot be written, or the coding data cannot be read.

    StandstillError where its disk does not tell in time.
    """
    try:
        load_site(Path(section.coding_site) if section.coding_site else None, load_tables())
    except InputError as error:
        raise ConfigError(f"record.coding_site: {error}") from error

    def open_once() -> None:
        CaseStore.open(section.file, writable=True, what="octmargin run").close()

    try:
        within(_RECORD_S, open_once)
    except RecordError as error:
        raise ConfigError(f"record.file: {error}") from error


def record_findings(section: RecordSection | None) -> Iterator[Finding]:
    """Of the record, who signs, and what is kept for longer than it should be."""
    if section is None:
        return
    try:
        check_record(section)
    except ConfigError as error:
        yield Finding("record", "problem", str(error))
        return
    except StandstillError:
        yield Finding("record", "problem", f"{section.file}: the disk stands still", "mend it")
        return
    yield Finding("record", "ok", section.file)
    tables = load_tables()
    for signer in section.signers:
        person = signer.interpreter
        checked = check_taxonomy(person.taxonomy, person.role, tables)
        if checked.warning:
            yield Finding(f"record.signers, {signer.name}", "note", checked.warning)
    if section.keep_days is not None:
        yield from _kept_too_long(section.file, section.keep_days)


def _kept_too_long(file: str, keep_days: int) -> Iterator[Finding]:
    with CaseStore.open(file) as store:
        over = len(expired(store, timedelta(days=keep_days), datetime.now(UTC)))
    if over:
        yield Finding(
            "record",
            "note",
            f"{counted(over, 'closed case')} older than record.keep_days = {keep_days}",
            f"`octmargin case prune --older-than-days {keep_days}` names them",
        )
