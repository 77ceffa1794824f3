"""Go on training a model with what it most easily takes for malignant: `python -m training.refine --help`."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import msgspec

from octmargin.margin.model_file import read_model, write_model
from training.examples import training_examples
from training.fit import fit, packed, unpacked

_PEAK_RATE = 6e-4


def main() -> None:
    """Make such examples of the seeds that follow those of the model, train on, write."""
    parser = argparse.ArgumentParser(prog="python -m training.refine", description=__doc__)
    parser.add_argument("--model", default="src/octmargin/margin/models/margin-1.json")
    parser.add_argument("--prefer", choices=("benign", "mimics"), default="benign")
    parser.add_argument("--specimens", type=int, default=1800)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.0f} s] {text}", flush=True)

    model = read_model(options.model)
    card = model.card
    first, last = card.training_seeds
    seeds = range(last + 1, last + 1 + options.specimens)
    examples = training_examples(seeds, options.processes, prefer=options.prefer)
    say(f"{len(examples.seed)} frames of {len(seeds)} specimens")
    parameters = fit(
        examples,
        epochs=options.epochs,
        seed=card.seed,
        say=say,
        begin=unpacked(model.layers),
        peak_rate=_PEAK_RATE,
    )
    trained_on = (
        f"{card.trained_on}; then {len(examples.seed)} frames of {len(seeds)} with {options.prefer} preferred"
    )
    names = {layer.name for layer in packed(parameters)}
    model = msgspec.structs.replace(
        model,
        layers=packed(parameters) + [layer for layer in model.layers if layer.name not in names],
        card=msgspec.structs.replace(card, training_seeds=(first, seeds[-1]), trained_on=trained_on),
    )
    write_model(model, Path(options.model))
    say(f"{options.model} written; now run training.gather and training.calibrate")


if __name__ == "__main__":
    main()
