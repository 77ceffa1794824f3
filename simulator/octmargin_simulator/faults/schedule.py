"""When the faults of a script happen."""

from __future__ import annotations

import numpy as np

from octmargin_simulator.faults.script import AnyFault, FaultScript


class Schedule:
    """Tells which faults are due at a frame; the same for the same script, sweep and place."""

    def __init__(self, script: FaultScript) -> None:
        self.script = script

    def due(self, sweep: int, index: int, face: str = "") -> tuple[AnyFault, ...]:
        """Faults at place `index` of the console's sweep number `sweep`, over `face`, in the order of the script."""
        faults = self.script.fault
        chances = np.random.default_rng([self.script.seed, sweep, index]).random(len(faults))
        return tuple(
            fault
            for fault, chance in zip(faults, chances, strict=True)
            if (not fault.sweeps or sweep in fault.sweeps)
            and (not fault.faces or face in fault.faces)
            and (index in fault.frames if fault.frames else chance < fault.chance)
        )
