"""What a model's card says after a step of training."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec

from octmargin.margin.model_file import Card

_SOFTWARE = ("octmargin", "torch", "numpy", "numba")


def software() -> dict[str, str]:
    """The versions that what is trained depends on."""
    return {name: version(name) for name in _SOFTWARE}


def after(card: Card, step: str, **changes: Any) -> Card:
    """The card of a model that went through one more `step`, in words; `changes` are fields that change with it."""
    return msgspec.structs.replace(
        card,
        trained_on=f"{card.trained_on}; then {step}",
        software={**card.software, **software()},
        **changes,
    )
