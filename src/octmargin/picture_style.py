"""What all pictures have in common: light on dark, one font, and colours that colour-blind people tell apart."""

from __future__ import annotations

from typing import Any

from PIL import ImageFont

Colour = tuple[int, int, int]

BACKGROUND: Colour = (16, 18, 22)
TEXT: Colour = (225, 228, 232)
GRID: Colour = (52, 56, 64)
# Okabe and Ito's.
ORANGE: Colour = (230, 159, 0)
SKY: Colour = (86, 180, 233)
YELLOW: Colour = (240, 228, 66)


def font(size: int = 12) -> Any:
    """Return the font of every picture."""
    return ImageFont.load_default(size)
