"""The report's plots as SVG: colours that a colour-blind reader tells apart (Okabe & Ito 2008)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from octmargin.errors import InputError
from octmargin_simulator.study.blocks import BlockMetrics, Confusion, Curve
from octmargin_simulator.study.rows import Table
from octmargin_simulator.study.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
}


def require_matplotlib() -> None:
    """Raise InputError where matplotlib is missing: before hours of computing, not after."""
    if find_spec("matplotlib") is None:
        raise InputError("study: the report's plots need matplotlib; pip install octmargin[study]")


def roc_plot(curve: Curve | None, point: tuple[float, float] | None, area: Estimate, what: str) -> str:
    """Draw a ROC curve with the operating point that the verdicts or flags stand for."""
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    if curve is not None:
        axes.plot(curve.x, curve.y, color=BLUE, linewidth=2, label=f"AUROC {_number(area)}")
    if point is not None:
        axes.plot(*point, "o", color=RED, markersize=8, markeredgecolor="white", label="called suspicious")
    axes.set(xlabel=f"share of negative {what} called", ylabel=f"share of positive {what} called")
    if curve is not None:
        axes.legend(loc="lower right", frameon=False)
    return _svg(figure, f"roc-{what}")


def reliability_plot(metrics: BlockMetrics) -> str:
    """Draw how often blocks of a suspicion are malignant."""
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    curve = metrics.reliability
    label = f"calibration error {_number(metrics.ece_equal_mass)}"
    axes.plot(curve.x, curve.y, "o-", color=BLUE, linewidth=1.5, markersize=5, label=label, clip_on=False)
    axes.set(xlabel="mean suspicion of the bin", ylabel="share of malignant blocks")
    axes.legend(loc="upper left", frameon=False)
    return _svg(figure, "reliability")


def shares_plot(table: Table, columns: Sequence[str], name: str, width_in: float = 5.6) -> str:
    """Draw columns of a table as points with their intervals, a line each."""
    figure, axes = _figure(width_in, 0.7 + 0.52 * max(1, len(table.rows)))
    for number, (column, colour, marker) in enumerate(
        zip(columns, (BLUE, ORANGE, GREEN, RED), "osD^", strict=False)
    ):
        offset = 0.18 * (number - (len(columns) - 1) / 2)
        for line, row in enumerate(table.rows):
            estimate = row.values[column]
            if estimate.value is None or estimate.low is None or estimate.high is None:
                continue
            axes.plot([estimate.low, estimate.high], [line + offset] * 2, color=colour, linewidth=1.8)
            axes.plot(estimate.value, line + offset, marker, color=colour, markersize=6)
        axes.plot([], [], marker, color=colour, linestyle="-", label=column)
    axes.set_yticks(
        range(len(table.rows)), [f"{_short(row.label)}  (n = {row.number})" for row in table.rows]
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(len(table.rows) - 0.5, -0.5))
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(columns), borderaxespad=0, frameon=False)
    return _svg(figure, name)


def confusion_plot(confusion: Confusion) -> str:
    """Draw the confusion as a heat map of shares of each row."""
    figure, axes = _figure(1.7 + 0.82 * len(confusion.called), 1.2 + 0.5 * len(confusion.truth))
    totals = [sum(row) for row in confusion.blocks]
    shares = [[n / max(1, total) for n in row] for row, total in zip(confusion.blocks, totals, strict=True)]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for line, row in enumerate(shares):
        for column, value in enumerate(row):
            colour = "white" if value > 0.55 else "#222222"
            text = f"{100 * value:.0f}" if totals[line] else "–"
            axes.text(column, line, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(confusion.called)), [name.replace("_", "\n") for name in confusion.called])
    axes.set_yticks(
        range(len(confusion.truth)),
        [f"{name.replace('_', ' ')}  (n = {n:,})" for name, n in zip(confusion.truth, totals, strict=True)],
    )
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="called (% of the row)", ylabel="is")
    return _svg(figure, "confusion")


def _square() -> tuple[Figure, Axes]:
    figure, axes = _figure(4.1, 4.1)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure, axes


def _figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    import matplotlib as mpl  # noqa: PLC0415 - an extra, which the rest of the simulator does without
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        return figure, figure.add_subplot()


def _svg(figure: Figure, salt: str) -> str:
    import matplotlib as mpl  # noqa: PLC0415

    out = io.StringIO()
    # With one salt for all, clip paths of two plots on a page would share their names.
    salted: Any = {**_STYLE, "svg.hashsalt": salt}
    with mpl.rc_context(salted):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _short(label: str) -> str:
    return label if len(label) <= 64 else label[:62] + "…"


def _number(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"{estimate.value:.3f}"
