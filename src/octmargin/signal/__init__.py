"""Jitted kernels and calibration: from spectra to depth profiles and tissue properties."""
