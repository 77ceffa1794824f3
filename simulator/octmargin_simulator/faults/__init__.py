"""Faults on purpose: a console that does what a script says goes wrong. See docs/faults.md."""

from octmargin_simulator.faults.console import FaultyConsole
from octmargin_simulator.faults.script import FaultScript, read_script

__all__ = ["FaultScript", "FaultyConsole", "read_script"]
