"""A model must not be tested on specimens that it was trained on."""

from __future__ import annotations

from collections.abc import Iterable

from octmargin.errors import InputError
from octmargin.margin import load_model


def training_seeds_of(model: str) -> tuple[range, ...]:
    """Seeds of the specimens that a model has seen, in whatever part of its making; none for one set by hand."""
    return tuple(range(first, last + 1) for first, last in load_model(model).identity.seen_seeds)


def check_unseen(model: str, seeds: Iterable[int], training_seeds: Iterable[range]) -> None:
    """Raise InputError where a seed of the study is among the seeds that `model` was trained on."""
    ranges = tuple(training_seeds)
    for seed in seeds:
        for trained in ranges:
            if seed in trained:
                raise InputError(
                    f"seed {seed}: model {model} was trained on the specimens {trained.start} to "
                    f"{trained[-1]}; give a --seed such that no specimen of the study is among them"
                )
