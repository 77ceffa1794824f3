"""Margin models by name: those that come with octmargin and those that other packages register."""

from __future__ import annotations

from importlib.metadata import entry_points

from octmargin.errors import ConfigError
from octmargin.margin.model import MarginModel

GROUP = "octmargin.models"
"""Entry-point group: a name and a callable that takes what stands behind the colon, or None, and makes a model."""


def model_names() -> list[str]:
    """Names that `load_model` knows."""
    return sorted(entry.name for entry in entry_points(group=GROUP))


def load_model(name: str) -> MarginModel:
    """Make the model "NAME" or "NAME:ARGUMENT", e.g. "margin-1" or "onnx:FILE.onnx".

    Raises ConfigError for a name that nobody registered, and what the model raises for its argument.
    """
    kind, colon, argument = name.partition(":")
    for entry in entry_points(group=GROUP):
        if entry.name == kind:
            try:
                make = entry.load()
            except (ImportError, AttributeError) as error:
                raise ConfigError(
                    f"model {name!r} cannot be loaded: {error}; install what it needs"
                ) from error
            model: MarginModel = make(argument if colon else None)
            return model
    raise ConfigError(f"model {name!r} does not exist; use one of {', '.join(model_names())}")
