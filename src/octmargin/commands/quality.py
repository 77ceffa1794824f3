"""`octmargin quality`: how well margins were assessed over a period."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from octmargin.case.quality.faces import specimen_rows
from octmargin.case.quality.measures import Quality, Share, Spread, measure
from octmargin.case.quality.sheets import faces_csv, measures_csv, page
from octmargin.case.record.store import CaseStore
from octmargin.commands.case.common import RecordFile
from octmargin.errors import InputError
from octmargin.words import NOTICE, counted


class Close(StrEnum):
    """What a close margin counts as."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


def quality(
    record: RecordFile,
    first: Annotated[
        str, typer.Option("--from", help="Cases opened on this day or later, such as 2031-01-31.")
    ] = "",
    last: Annotated[str, typer.Option("--to", help="Cases opened on this day or earlier.")] = "",
    close: Annotated[Close, typer.Option(help="What a close margin counts as.")] = Close.POSITIVE,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Cases of synthetic spectra, which are left out otherwise.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="A folder for quality.html, measures.csv and faces.csv.")
    ] = None,
) -> None:
    """Compare with pathology, and tell coverage, re-excisions and time over a period; patients are not named."""
    begin, end = _day(first, "--from"), _day(last, "--to")
    if begin is not None and end is not None and end < begin:
        raise InputError(f"--to {end} is before --from {begin}; swap them")
    with CaseStore.open(record) as store:
        rows = specimen_rows(store.cases(), begin, end, synthetic=synthetic)
    found = measure(
        rows, first=begin, last=end, synthetic=synthetic, close_is_positive=close is Close.POSITIVE
    )
    for line in _text(found):
        typer.echo(line)
    if output is not None:
        files = {
            "quality.html": page(found, datetime.now(UTC)),
            "measures.csv": measures_csv(found),
            "faces.csv": faces_csv(rows),
        }
        _write(output, files)
        typer.echo(f"{output / 'quality.html'} shows it, measures.csv and faces.csv hold it")


def _day(text: str, option: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise InputError(f'{option} "{text}": no date; give one such as 2031-01-31') from error


def _text(found: Quality) -> list[str]:
    kind = "SYNTHETIC specimen" if found.synthetic else "specimen"
    held = f"{counted(found.cases, 'case')}, {counted(found.specimens, kind)}, {counted(found.faces, 'face')}"
    lines = [f"{held}, {found.correlated} with a result of pathology. {NOTICE}"]
    for name, shares in (
        ("algorithm", found.algorithm),
        ("interpreter", found.interpreter),
        ("course", found.course),
    ):
        lines.append(f"{name}:")
        lines += [f"  {_share(one)}" for one in shares]
    lines.append("spread:")
    lines += [f"  {_spread(one)}" for one in found.spreads]
    return lines


def _share(one: Share) -> str:
    if one.value is None or one.low is None or one.high is None:
        return f"{one.name}: nothing to count"
    return f"{one.name}: {one.value:.1%} ({one.k}/{one.n}), 95 % interval {one.low:.1%} to {one.high:.1%}; {one.says}"


def _spread(one: Spread) -> str:
    if one.median is None:
        return f"{one.name}: nothing to count"
    return (
        f"{one.name}: median {one.median:.3g} {one.unit}, quartiles {one.lower_quartile:.3g} and "
        f"{one.upper_quartile:.3g} ({one.n}); {one.says}"
    )


def _write(folder: Path, files: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name another --output") from error
