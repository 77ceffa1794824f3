"""The statistics of a diagnostic study, with intervals that know that faces of one specimen are alike.

Everything is a function of sums over specimens: what is resampled are specimens, never faces or blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from octmargin.errors import InputError

LEVEL = 0.95
RESAMPLES = 2000
_SEED = 20
_CHUNK = 250
Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]


class Estimate(msgspec.Struct, frozen=True):
    """A value with its 95 % interval; None where it cannot be told. `count` of `of`, where it is a share."""

    value: float | None
    low: float | None
    high: float | None
    of: int
    count: int | None = None


def roc(scores: ArrayLike, positive: ArrayLike) -> tuple[Floats, Floats]:
    """Share of negatives and of positives at or above each score, from none to all; (thresholds + 1,) both.

    `scores` and `positive` (n,). Raises InputError unless there are both.
    """
    scores, positive = _checked(scores, positive)
    order = np.argsort(-scores, kind="stable")
    last_of_equal = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
    true = np.cumsum(positive[order])[last_of_equal]
    false = last_of_equal + 1 - true
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive scores above a negative, ties counting half.

    That is the statistic of Mann & Whitney (1947, doi:10.1214/aoms/1177730491), and the area under the curve (Hanley
    & McNeil 1982, doi:10.1148/radiology.143.1.7063747). Raises InputError unless there are both.
    """
    scores, positive = _checked(scores, positive)
    positives = int(positive.sum())
    rank_sum = float(rankdata(scores)[positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (len(scores) - positives))


def score_counts(
    scores: Floats, positive: NDArray[np.bool_], specimen: NDArray[np.int64], specimens: int, bins: int = 2048
) -> Floats:
    """How many negatives and positives of each specimen score how high: (specimens, 2, bins), scores rising.

    With more than `bins` different scores, neighbours share a bin, as many in each: `auroc_of_counts` then counts
    pairs within a bin half, which moves it by less than 1 / bins.
    """
    edges = np.unique(scores)
    if len(edges) > bins:
        edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)[:-1], method="lower"))
    at = np.searchsorted(edges, scores, side="right") - 1
    flat = (specimen * 2 + positive) * len(edges) + at
    return (
        np.bincount(flat, minlength=specimens * 2 * len(edges)).reshape(specimens, 2, -1).astype(np.float64)
    )


def auroc_of_counts(counts: Floats) -> Floats:
    """AUROC of counts (..., 2, bins); NaN without positives or negatives."""
    negative, positive = counts[..., 0, :], counts[..., 1, :]
    below = np.cumsum(negative, axis=-1) - negative / 2
    with np.errstate(invalid="ignore"):
        area: Floats = (positive * below).sum(axis=-1) / (positive.sum(axis=-1) * negative.sum(axis=-1))
    return area


def calibration_sums(
    probability: Floats,
    positive: NDArray[np.bool_],
    specimen: NDArray[np.int64],
    specimens: int,
    *,
    bins: int = 15,
    equal_mass: bool = True,
) -> Floats:
    """Number, sum of probabilities and positives per specimen and bin of probability: (specimens, 3, bins).

    Bins hold equally many blocks, or are equally wide; equal probabilities always share one.
    """
    inner = np.arange(1, bins) / bins
    edges = np.quantile(probability, inner, method="lower") if equal_mass else inner
    at = np.searchsorted(edges, probability, side="right" if not equal_mass else "left")
    flat, size = specimen * bins + at, specimens * bins
    sums = [np.bincount(flat, weights, size) for weights in (None, probability, positive)]
    return np.stack(sums).reshape(3, specimens, bins).swapaxes(0, 1).astype(np.float64)


def expected_calibration_error(sums: Floats) -> Floats:
    """Mean distance between probability and share of positives over the bins of (..., 3, bins).

    Naeini, Cooper & Hauskrecht 2015 (doi:10.1609/aaai.v29i1.9602); of equal mass: Nixon et al. 2019
    (doi:10.48550/arXiv.1904.01685).
    """
    with np.errstate(invalid="ignore"):
        error: Floats = np.abs(sums[..., 1, :] - sums[..., 2, :]).sum(axis=-1) / sums[..., 0, :].sum(axis=-1)
    return error


def squared_error_sums(
    probability: Floats, positive: NDArray[np.bool_], specimen: NDArray[np.int64], specimens: int
) -> Floats:
    """Sum of squared errors and number per specimen, (specimens, 2): their ratio is the score of Brier.

    Brier 1950 (doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2).
    """
    errors = np.bincount(specimen, (probability - positive) ** 2, specimens)
    return np.stack([errors, np.bincount(specimen, minlength=specimens)], axis=1)


def ratio(sums: Floats) -> Floats:
    """First over second of (..., 2); NaN where the second is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Floats = sums[..., 0] / sums[..., 1]
    return share


def bootstrap(
    per_specimen: Floats, statistic: Statistic, *, resamples: int = RESAMPLES, seed: int = _SEED
) -> tuple[float, float]:
    """Percentile interval of `statistic` over resampled specimens, always the same for the same input.

    `per_specimen` (specimens, ...) is summed over the drawn specimens; `statistic` takes such sums (n, ...) and gives
    (n,). Resamples without a value, such as those without a positive, are left out; NaN where none has one. Efron
    & Tibshirani 1993 (doi:10.1201/9780429246593), the cluster as unit: Field & Welsh 2007
    (doi:10.1111/j.1467-9868.2007.00593.x).
    """
    specimens = len(per_specimen)
    if specimens == 0:
        raise InputError("bootstrap: no specimens; give at least one")
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(specimens, np.full(specimens, 1 / specimens), resamples).astype(np.float64)
    flat = per_specimen.reshape(specimens, -1)
    values = np.concatenate(
        [
            statistic((drawn[first : first + _CHUNK] @ flat).reshape(-1, *per_specimen.shape[1:]))
            for first in range(0, resamples, _CHUNK)
        ]
    )
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def wilson(count: int, of: int) -> tuple[float, float]:
    """Score interval of a share of independent cases, NaN of none (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    if of == 0:
        return float("nan"), float("nan")
    z2 = float(ndtri((1 + LEVEL) / 2)) ** 2
    share = count / of
    middle = share + z2 / (2 * of)
    half = float(np.sqrt(z2 * (share * (1 - share) / of + z2 / (4 * of**2))))
    low, high = (middle - half) / (1 + z2 / of), (middle + half) / (1 + z2 / of)
    return max(0.0, low), min(1.0, high)


def share(found: ArrayLike, specimen: ArrayLike) -> Estimate:
    """Share of cases that were `found`, bool (n,), of the specimens numbered in `specimen` (n,).

    Where the bootstrap gives no width (none, all, or all of one specimen) Wilson's interval stands in.
    """
    found = np.asarray(found, np.bool_)
    count, of = int(found.sum()), len(found)
    if of == 0:
        return Estimate(None, None, None, 0, 0)
    _, number = np.unique(np.asarray(specimen), return_inverse=True)
    sums = np.stack([np.bincount(number, found), np.bincount(number)], axis=1).astype(np.float64)
    low, high = bootstrap(sums, ratio)
    if not low < high:
        low, high = wilson(count, of)
    return Estimate(count / of, low, high, of, count)


def estimate(per_specimen: Floats, statistic: Statistic, of: int, value: float | None = None) -> Estimate:
    """Value of a statistic of sums with its interval; `value` where it is known more exactly."""
    if value is None:
        value = float(statistic(per_specimen.sum(axis=0)[None])[0])
    low, high = bootstrap(per_specimen, statistic)
    return Estimate(_known(value), _known(low), _known(high), of)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _checked(scores: Any, positive: Any) -> tuple[Floats, NDArray[np.bool_]]:
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, np.bool_)
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise InputError(
            f"scores of shape {scores.shape}, truth of {positive.shape}; give one of each per case"
        )
    if not np.isfinite(scores).all():
        raise InputError("scores: some are not finite; leave out what has no score")
    if positive.all() or not positive.any():
        raise InputError("scores: all cases are alike; give positives and negatives")
    return scores, positive
