"""Jitted passes over the A-lines of a B-scan that end in one averaged profile per block."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

ENFACE_FROM_UM = 50.0
ENFACE_TO_UM = 500.0


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, error_model="numpy", boundscheck=False)
def average_blocks(
    intensity: NDArray[np.float32],
    surface_px: NDArray[np.float32],
    usable: NDArray[np.bool_],
    alines_per_block: int,
    profile: NDArray[np.float32],
    profile_px: NDArray[np.int64],
) -> None:
    """Average the usable A-lines of each block along their surface.

    `intensity` (alines, depth) -> `profile` (blocks, pixels wanted). The first `profile_px` (blocks,) pixels
    below the surface are inside every A-line that was averaged; 0 where a block has no usable A-line.
    """
    alines, depth = intensity.shape
    for b in range(profile.shape[0]):
        start, stop = b * alines_per_block, min((b + 1) * alines_per_block, alines)
        length = depth
        used = 0
        for i in range(start, stop):
            if usable[i]:
                length = min(length, depth - round(surface_px[i]))
                used += 1
        profile_px[b] = length if used else 0
        for z in range(profile.shape[1]):
            profile[b, z] = np.float32(0.0)
        # A slice, so that its indices count from 0: numba would test others for negative ones at each step.
        wanted = profile[b, : min(length, profile.shape[1])]
        for i in range(start, stop):
            if usable[i]:
                _add(intensity[i, round(surface_px[i]) :], wanted)
        if used:
            scale = np.float32(1.0 / used)
            for z in range(wanted.shape[0]):
                wanted[z] *= scale


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def _add(line: NDArray[np.float32], total: NDArray[np.float32]) -> None:
    for z in range(total.shape[0]):
        total[z] += line[z]


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def summarise_blocks(
    surface_px: NDArray[np.float32],
    clipped: NDArray[np.bool_],
    alines_per_block: int,
    missing_share: NDArray[np.float64],
    clipped_share: NDArray[np.float64],
    median_px: NDArray[np.float32],
) -> None:
    """Shares of A-lines without surface and saturated, and the median surface (NaN without any), per block."""
    found_px = np.empty(alines_per_block, dtype=np.float32)
    for b in range(median_px.shape[0]):
        start, stop = b * alines_per_block, min((b + 1) * alines_per_block, surface_px.shape[0])
        found = saturated = 0
        for i in range(start, stop):
            saturated += clipped[i]
            if np.isfinite(surface_px[i]):
                # Insertion: a block is short.
                k = found
                while k > 0 and found_px[k - 1] > surface_px[i]:
                    found_px[k] = found_px[k - 1]
                    k -= 1
                found_px[k] = surface_px[i]
                found += 1
        missing_share[b] = (stop - start - found) / (stop - start)
        clipped_share[b] = saturated / (stop - start)
        median_px[b] = np.float32(np.nan)
        if found:
            median_px[b] = np.float32(0.5) * (found_px[(found - 1) // 2] + found_px[found // 2])


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, error_model="numpy", boundscheck=False)
def project_enface(
    bscan_db: NDArray[np.float32],
    surface_px: NDArray[np.float32],
    from_px: int,
    to_px: int,
    enface_db: NDArray[np.float32],
) -> None:
    """Mean dB between two depths below the surface per A-line; NaN where there is no surface."""
    alines, depth = bscan_db.shape
    for i in range(alines):
        enface_db[i] = np.float32(np.nan)
        if np.isnan(surface_px[i]):
            continue
        start = round(surface_px[i]) + from_px
        stop = min(round(surface_px[i]) + to_px, depth)
        if stop > start:
            band_db = bscan_db[i, start:stop]
            total = np.float32(0.0)
            for z in range(stop - start):
                total += band_db[z]
            enface_db[i] = total / np.float32(stop - start)


@njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
def bin_profiles(
    profile: NDArray[np.float32],
    profile_px: NDArray[np.int64],
    noise: float,
    needed: float,
    bin_px: int,
    first_px: int,
    rolloff_per_bin: float,
    log_bins: NDArray[np.float64],
    bins_seen: NDArray[np.int64],
) -> None:
    """Natural logarithm of the signal in bins of `bin_px` below `first_px`, down to where noise hides it.

    `log_bins` (blocks, bins) and `bins_seen` (blocks,). A profile ends at the first of two bins in a row
    whose mean is below `needed`: what may lie behind a dark gap is not claimed to be visualised. `rolloff_per_bin`,
    the fall of sensitivity from bin to bin, is taken back.
    """
    for b in range(profile.shape[0]):
        seen = 0
        dark = 0
        for k in range(log_bins.shape[1]):
            start = first_px + k * bin_px
            if start + bin_px > profile_px[b]:
                break
            total = 0.0
            for z in range(start, start + bin_px):
                total += profile[b, z]
            mean = total / bin_px
            # Written so that NaN counts as dark.
            if mean >= needed:
                dark = 0
                seen = k + 1
            else:
                dark += 1
                if dark == 2:
                    break
            log_bins[b, k] = np.log(max(mean - noise, 1e-3 * noise + 1e-30)) + k * rolloff_per_bin
        bins_seen[b] = seen
