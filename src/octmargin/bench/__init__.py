"""Measurements of the kernels and the engine on this machine, with their conditions; see docs/performance.md."""
