"""The study's report: one HTML page that needs nothing else, and its figures as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2
import msgspec

from octmargin.errors import InputError
from octmargin_simulator.study import plots, strata
from octmargin_simulator.study.rows import Row, Table
from octmargin_simulator.study.statistics import Estimate
from octmargin_simulator.study.tables import Summary

REPORT_FILE, SUMMARY_FILE, MARKDOWN_FILE = "report.html", "summary.json", "summary.md"
_TEMPLATE = "report.html.j2"
_MISSED_SHOWN = 60
_MANY = 100
"""Of fewer faces a percentage has no decimal."""
_IN_SUMMARY = {strata.BY_SIZE, strata.BY_DEPTH, strata.BY_SEEN}


def write_report(summary: Summary, folder: Path) -> None:
    """Write the three files into `folder`. Raises InputError where they cannot be written or drawn."""
    plots.require_matplotlib()
    texts = {
        REPORT_FILE: html(summary),
        SUMMARY_FILE: msgspec.json.format(msgspec.json.encode(summary), indent=1).decode() + "\n",
        MARKDOWN_FILE: markdown(summary),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}; name another folder") from error


def html(summary: Summary) -> str:
    """The page; plots are SVG within it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["estimate"] = shown
    by_title = {table.title: table for table in summary.subgroups}
    found = (strata.SENSITIVITY, strata.NOT_MISSED)
    drawings = {
        "face_roc": plots.roc_plot(
            summary.face_roc, summary.face_operating_point, _endpoint(summary, "AUROC of faces"), "faces"
        ),
        "block_roc": plots.roc_plot(
            summary.blocks.roc, summary.blocks.operating_point, summary.blocks.auroc, "blocks"
        ),
        "reliability": plots.reliability_plot(summary.blocks),
        "confusion": plots.confusion_plot(summary.confusion),
    }
    for name, title in (("sizes", strata.BY_SIZE), ("depths", strata.BY_DEPTH)):
        if by_title[title].rows:
            drawings[name] = plots.shares_plot(by_title[title], found, name)
    if summary.worlds is not None:
        columns = (strata.SENSITIVITY, strata.SPECIFICITY, "AUROC of blocks")
        drawings["worlds"] = plots.shares_plot(summary.worlds, columns, "worlds", width_in=9.6)
    return environment.get_template(_TEMPLATE).render(
        summary=summary,
        plan=summary.plan,
        plots=drawings,
        subgroups=[table for table in summary.subgroups if table.rows],
        endpoints=summary.endpoints,
        missed=summary.missed[:_MISSED_SHOWN],
        missed_hidden=max(0, len(summary.missed) - _MISSED_SHOWN),
    )


def markdown(summary: Summary) -> str:
    """Short tables for the documentation."""
    plan = summary.plan
    head = (
        f"**SYNTHETIC tissue.** Model {plan.model}, octmargin {summary.octmargin}; specimens (seeds) "
        f"{plan.seeds.start} to {plan.seeds[-1]}, {plan.frames} x {plan.alines} A-lines over "
        f"{plan.width_mm:g} x {plan.height_mm:g} mm per face."
    )
    parts = [
        head,
        _markdown_table(summary.endpoints),
        *(_markdown_table(table) for table in summary.subgroups if table.title in _IN_SUMMARY),
    ]
    if summary.worlds is not None:
        parts.append(_markdown_table(summary.worlds))
    parts += [_markdown_table(table) for table in summary.artefacts]
    return "\n\n".join(parts) + "\n"


def shown(estimate: Estimate) -> str:
    """An estimate in words: shares as percentages and as count of number, scores as they are."""
    if estimate.value is None:
        return "–"
    if estimate.count is None:
        return _with_interval(estimate, 1, 3)
    decimals = 1 if estimate.of >= _MANY else 0
    return f"{_with_interval(estimate, 100, decimals, ' %')}, {estimate.count}/{estimate.of}"


def _with_interval(estimate: Estimate, factor: float, decimals: int, unit: str = "") -> str:
    numbers = [n for n in (estimate.value, estimate.low, estimate.high) if n is not None]
    value, *interval = [f"{factor * number:.{decimals}f}" for number in numbers]
    return f"{value}{unit} ({' to '.join(interval)})" if interval else f"{value}{unit}"


def _endpoint(summary: Summary, label: str) -> Estimate:
    return next(row.values["estimate"] for row in summary.endpoints.rows if row.label == label)


def _markdown_table(table: Table) -> str:
    head = ["", "n", *table.columns]
    lines = [_markdown_line(head), _markdown_line(["---"] * len(head))]
    lines += [_markdown_line(_cells(row)) for row in table.rows]
    return f"{table.title}. {table.note}".strip() + "\n\n" + "\n".join(lines)


def _cells(row: Row) -> list[str]:
    return [row.label, f"{row.number}", *(shown(value) for value in row.values.values())]


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
