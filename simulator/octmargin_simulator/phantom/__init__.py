"""A layered phantom with exact geometry, to check a console and a chain with; for tissue see `tissue`."""

from octmargin_simulator.phantom.layered import LayeredPhantom

__all__ = ["LayeredPhantom"]
