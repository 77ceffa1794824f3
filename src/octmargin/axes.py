"""Axes with ticks, lines and points, drawn with Pillow: what a calibration's picture needs, no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from octmargin.picture_style import GRID, TEXT, Colour, font

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 24, 40
"""Room around the axes, in pixels of the picture, for their title, ticks and labels."""
_TICKS = 6
_NICE_STEPS = (1, 2, 2.5, 5, 10)


Values = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a line is drawn; `dash` in pixels on and off, empty for a solid line."""

    colour: Colour
    width: int = 1
    dash: tuple[int, int] | None = None


class Axes:
    """One plot in a box of a picture; values outside its range are cut off at its edges.

    `box`: left, top, right, bottom in pixels of the finished picture; `scale`: pixels drawn for each of them.
    """

    def __init__(
        self,
        draw: ImageDraw.ImageDraw,
        box: tuple[int, int, int, int],
        *,
        x: tuple[float, float],
        y: tuple[float, float],
        scale: int,
    ) -> None:
        self._draw, self._scale = draw, scale
        self._left, self._top = (box[0] + _LEFT) * scale, (box[1] + _TOP) * scale
        self._right, self._bottom = (box[2] - _RIGHT) * scale, (box[3] - _BOTTOM) * scale
        self._x, self._y = x, y

    def frame(self, title: str, x_label: str, y_label: str) -> None:
        """Draw grid, ticks and labels; both labels name the unit."""
        for value in _ticks(*self._x):
            column = self._place([value], [self._y[0]])[0][0]
            self._draw.line((column, self._top, column, self._bottom), fill=GRID, width=self._scale)
            self._text((column, self._bottom + 4 * self._scale), f"{value:g}", "mt")
        for value in _ticks(*self._y):
            row = self._place([self._x[0]], [value])[0][1]
            self._draw.line((self._left, row, self._right, row), fill=GRID, width=self._scale)
            self._text((self._left - 5 * self._scale, row), f"{value:g}", "rm")
        self._draw.rectangle(
            (self._left, self._top, self._right, self._bottom), outline=TEXT, width=self._scale
        )
        self._text((self._left, self._top - 6 * self._scale), title, "ls")
        self._text(((self._left + self._right) / 2, self._bottom + 22 * self._scale), x_label, "mt")
        self._text((self._left - 46 * self._scale, self._top - 6 * self._scale), y_label, "ls")

    def line(self, x: Values, y: Values, stroke: Stroke) -> None:
        """Draw a line through the points that lie within the range of x."""
        across = np.asarray(x, dtype=np.float64)
        inside = (across >= self._x[0]) & (across <= self._x[1])
        points = self._place(across[inside], np.asarray(y, dtype=np.float64)[inside])
        for run in _dashed(points, stroke.dash, self._scale):
            self._draw.line(run, fill=stroke.colour, width=stroke.width * self._scale, joint="curve")

    def level(self, y: float, stroke: Stroke) -> None:
        """Draw a line across the axes."""
        self.line(self._x, (y, y), stroke)

    def points(self, x: Values, y: Values, colour: Colour) -> None:
        """Draw a disc at each point."""
        radius = 4 * self._scale
        for column, row in self._place(x, y):
            self._draw.ellipse((column - radius, row - radius, column + radius, row + radius), fill=colour)

    def legend(self, entries: Sequence[tuple[str, Stroke]]) -> None:
        """Name the lines in the upper right corner."""
        size = 18 * self._scale
        widest = max(self._draw.textlength(text, font=font(12 * self._scale)) for text, _ in entries)
        left = self._right - widest - 44 * self._scale
        for index, (text, stroke) in enumerate(entries):
            row = self._top + (index + 0.75) * size
            ends = [(left, row), (left + 30 * self._scale, row)]
            for run in _dashed(ends, stroke.dash, self._scale):
                self._draw.line(run, fill=stroke.colour, width=stroke.width * self._scale)
            self._text((left + 36 * self._scale, row), text, "lm")

    def note(self, text: str) -> None:
        """Write in the middle of the axes."""
        self._text(((self._left + self._right) / 2, (self._top + self._bottom) / 2), text, "mm")

    def _text(self, at: tuple[float, float], text: str, anchor: str) -> None:
        self._draw.text(at, text, fill=TEXT, font=font(12 * self._scale), anchor=anchor, align="center")

    def _place(self, x: Values, y: Values) -> list[tuple[float, float]]:
        across = np.interp(x, self._x, (self._left, self._right))
        down = np.interp(y, self._y, (self._bottom, self._top))
        return list(zip(across.tolist(), down.tolist(), strict=True))


def _ticks(low: float, high: float) -> NDArray[np.float64]:
    """Round numbers from `low` to `high`, `_TICKS` of them or a few less."""
    rough = (high - low) / _TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(nice * power for nice in _NICE_STEPS if nice * power >= rough * 0.999)
    ticks: NDArray[np.float64] = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return ticks


def _dashed(
    points: list[tuple[float, float]], dash: tuple[int, int] | None, scale: int
) -> list[list[tuple[float, float]]]:
    """Runs of a polyline that are drawn."""
    if dash is None or len(points) < 2:
        return [points] if len(points) > 1 else []
    path = np.asarray(points)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    on, period = dash[0] * scale, sum(dash) * scale
    starts = np.arange(0.0, along[-1], period)
    edges = np.sort(np.concatenate([along, starts, np.minimum(starts + on, along[-1])]))
    x, y = np.interp(edges, along, path[:, 0]), np.interp(edges, along, path[:, 1])
    return [
        [(x[i], y[i]), (x[j], y[j])]
        for i, j in pairwise(range(len(edges)))
        if (edges[i] + edges[j]) / 2 % period < on
    ]
