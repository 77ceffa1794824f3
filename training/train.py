"""Train a margin model on simulated specimens: `python -m training.train --help`.

Its file is not ready: `training.gather`, `training.together` and `training.calibrate` come after.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from octmargin.margin.model import CLASSES
from octmargin.margin.model_file import (
    Card,
    ModelCalibration,
    ModelFile,
    OperatingShares,
    ValidFor,
    write_model,
)
from training.card import software
from training.examples import training_examples
from training.fit import fit
from training.network import packed

FIRST_TRAINING_SEED = 100_000
"""Seeds below belong to studies: a specimen is in training, in calibration, or in a study, never in two."""
NOTICE = "Trained and measured on SYNTHETIC tissue alone. Research use only; not a medical device."


def main() -> None:
    """Make examples, train, write."""
    options = _options()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.0f} s] {text}", flush=True)

    seeds = range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + options.specimens)
    say(f"examples of {len(seeds)} specimens")
    examples = training_examples(seeds, Path(options.examples), options.processes)
    share = float((examples.kind[examples.counts] == CLASSES.index("invasive")).mean())
    say(f"{len(examples.seed)} frames, {100 * share:.1f} % of their blocks invasive")
    parameters = fit(examples, epochs=options.epochs, seed=options.seed, say=say)
    uncalibrated = ModelFile(
        format=1,
        name=options.name,
        version=options.version,
        notice=NOTICE,
        classes=CLASSES,
        suspicious_at=0.5,
        operating_point=OperatingShares(0.5, 0.5, 3),
        calibration=ModelCalibration(1.0, 0.0),
        gathered_calibration=ModelCalibration(1.0, 0.0),
        valid_for=ValidFor(axial_um=(3.8, 4.2), aline_um=(12.0, 20.0), max_frame_um=240.0),
        card=Card(
            intended_use="Marks blocks of A-lines of an excised breast specimen that deserve a look. Research only.",
            trained_on=f"{len(examples.seed)} frames of {len(seeds)} simulated specimens "
            "(simulator/octmargin_simulator/tissue/priors.toml), one face each, frames through lesions and what looks "
            "like them preferred",
            training_seeds=(seeds[0], seeds[-1]),
            gathering_seeds=(0, -1),
            calibration_seeds=(0, -1),
            seed=options.seed,
            software=software(),
            metrics={},
            limits=[
                "No patient, no real tissue: what works on this tissue may fail on real tissue.",
                "Valid for depth pixels of 3.8 to 4.2 um, A-lines 12 to 20 um and frames at most 240 um apart.",
                "Sees no further than the light: a lesion below the visualised depth is not found.",
                "DCIS is its weakest class.",
            ],
        ),
        layers=packed(parameters),
    )
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    write_model(uncalibrated, Path(options.output))
    say(f"{options.output} written, now run training.gather, training.together and training.calibrate")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--output", default="src/octmargin/margin/models/margin-1.json")
    parser.add_argument("--name", default="margin-1")
    parser.add_argument("--version", default="1.4")
    parser.add_argument("--examples", default=".cache/examples", help="folder that keeps the rendered frames")
    parser.add_argument("--specimens", type=int, default=10000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    for name in ("specimens", "epochs", "processes"):
        if getattr(options, name) < 1:
            sys.exit(f"--{name.replace('_', '-')} {getattr(options, name)}: give at least 1")
    return options


if __name__ == "__main__":
    main()
