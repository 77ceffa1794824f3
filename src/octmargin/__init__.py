"""Margin flags from optical coherence tomography, in near real time. Research use only."""

__version__ = "0.1.0"
