"""A trained model as a margin model: cells, network, calibrated probabilities, distance of what is suspicious."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octmargin.errors import ConfigError
from octmargin.margin import _cell_kernels as cells_of
from octmargin.margin.cells import average_cells
from octmargin.margin.grid import KnownGrid
from octmargin.margin.model import (
    CLASSES,
    MALIGNANT,
    FrameView,
    Judgement,
    ModelIdentity,
    OperatingPoint,
    Profile,
)
from octmargin.margin.model_file import ModelCalibration, ModelFile, read_model
from octmargin.margin.network import BANDS, GatherNetwork, Network

_BAND_MM = 8 * cells_of.ROW_UM / 1000
_FIRST_CENTRE_MM = (4 - cells_of.ROWS_ABOVE) * cells_of.ROW_UM / 1000
_MALIGNANT = [CLASSES.index(name) for name in MALIGNANT]
_NEAREST_SHARE = 0.5
"""A suspicious feature begins where the score of a band reaches this share of the highest below the block."""
_LEAST_SHARE = 1e-6
JUDGED_MM = 1.0
"""What makes a block malignant in training lies within this depth: below it nothing was learned, nor validated."""


class TrainedModel:
    """The model of a file, e.g. margin-1 (docs/assessment.md); its probabilities are calibrated on synthetic tissue.

    Raises ConfigError for a file that does not fit.
    """

    classes: tuple[str, ...] = CLASSES
    judged_mm = JUDGED_MM

    def __init__(self, model: ModelFile) -> None:
        if model.classes != CLASSES:
            raise ConfigError(f"model {model.name}: classes {list(model.classes)}; expected {list(CLASSES)}")
        self.file = model
        self.suspicious_at = model.suspicious_at
        self.identity = ModelIdentity(model.name, model.version, model.fingerprint(), model.card.seen_seeds())
        shares = model.operating_point
        self.operating_point = OperatingPoint(
            shares.suspicious_at, shares.doubtful_at, shares.min_cluster_blocks, shares.doubtful_alone_at
        )
        self.known_grid = KnownGrid(
            model.valid_for.axial_um, model.valid_for.aline_um, model.valid_for.max_frame_um
        )
        self._network, self._gather_network = Network(model), GatherNetwork(model)
        self._cells = np.empty((0, cells_of.ROWS), np.float32)
        self._scratch, self._tile = np.empty_like(self._cells), np.zeros(16, np.float32)
        self._source = np.empty(0, np.int64)

    def judge(self, view: FrameView) -> Judgement:
        """Judge every block of `view`; all unfamiliar where its pixels are not what the model was validated for."""
        blocks = view.blocks
        trouble = self.known_grid.trouble(view.axial_um, view.aline_um)
        if trouble or not np.isfinite(view.noise):
            unknown = np.full(blocks, np.nan, np.float32)
            nothing = np.full((blocks, len(CLASSES)), np.nan, np.float32)
            none = np.zeros((blocks, self._gather_network.channels_in - 1), np.float32)
            return Judgement(
                unknown,
                nothing,
                unknown,
                unknown,
                np.full(blocks, np.isfinite(view.noise)),
                none,
                why_unfamiliar=f"{self.identity.name} knows {trouble}" if trouble else "",
            )
        self._see(view)
        block_scores, place_scores = self._network.run()
        scores = block_scores[:, : len(CLASSES)]
        probabilities, suspicion = _calibrated(scores, self.file.calibration)
        # No A-line of the frame shows tissue: there is nothing to be said.
        known = _has_usable(view)
        distance_mm = _nearest_mm(place_scores[:, :, : len(CLASSES) + 1])
        suspicion[~known], probabilities[~known], distance_mm[~known] = np.nan, np.nan, np.nan
        return Judgement(
            suspicion=suspicion,
            probabilities=probabilities,
            distance_mm=distance_mm,
            attenuation_per_mm=_mean_attenuation(view.profile),
            unfamiliar=np.zeros(blocks, np.bool_),
            context=np.concatenate([self._network.zones, scores], axis=1),
        )

    def gather(
        self, suspicion: NDArray[np.float32], context: NDArray[np.float32], sound: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Gather evidence over up to three blocks and frames to each side; see `MarginModel.gather`."""
        if not sound.any():
            # Nothing has come yet, not even a context.
            return np.full(suspicion.shape, np.nan, np.float32)
        known = gather_input(context, sound)
        scores = self._gather_network.run(known)[..., : len(CLASSES)]
        _, evidence = _calibrated(scores.reshape(-1, len(CLASSES)), self.file.gathered_calibration)
        return np.where(sound, evidence.reshape(suspicion.shape), np.float32(np.nan))

    def _see(self, view: FrameView) -> None:
        """Put the features of the frame into the network's input."""
        features = self._network.features_for(view.blocks)
        alines = view.blocks * view.alines_per_block
        if len(self._cells) != alines:
            self._cells = np.empty((alines, cells_of.ROWS), np.float32)
            self._scratch, self._source = np.empty_like(self._cells), np.empty(alines, np.int64)
        average_cells(
            view.intensity,
            view.surface_px,
            view.usable,
            view.noise,
            view.axial_um,
            self._source,
            self._cells,
        )
        cells_of.cell_features(self._cells, self._scratch, self._tile, features)


def gather_input(context: NDArray[np.float32], sound: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What the gathering network is shown: context where `sound`, else zeros; and which is which, (..., n + 1)."""
    known = np.where(sound[..., None], context, np.float32(0.0))
    return np.concatenate([known, sound[..., None].astype(np.float32)], axis=-1)


def _calibrated(
    scores: NDArray[np.float32], calibration: ModelCalibration
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities (n, classes) and suspicion (n,) of scores (n, classes), calibrated as a whole."""
    shares = _softmax(scores)
    malignant = np.clip(shares[:, _MALIGNANT].sum(axis=1), _LEAST_SHARE, 1 - _LEAST_SHARE)
    logit = calibration.slope * np.log(malignant / (1 - malignant)) + calibration.intercept
    suspicion = 1 / (1 + np.exp(-logit))
    scale = np.where(
        np.isin(np.arange(len(CLASSES)), _MALIGNANT),
        (suspicion / malignant)[:, None],
        ((1 - suspicion) / (1 - malignant))[:, None],
    )
    return (shares * scale).astype(np.float32), suspicion.astype(np.float32)


def make(argument: str | None) -> TrainedModel:
    """Make the model of a file of one's own: "trained:FILE.json". Raises ConfigError without a file."""
    if argument is None or not argument.endswith(".json"):
        raise ConfigError("model trained: name a model file, as trained:FILE.json")
    return TrainedModel(read_model(argument))


def margin_1(argument: str | None) -> TrainedModel:
    """Make margin-1, which comes with octmargin. Raises ConfigError for an argument: it takes none."""
    if argument is not None:
        raise ConfigError(f"model margin-1:{argument}: margin-1 takes no argument; use trained:FILE.json")
    return TrainedModel(read_model("margin-1"))


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    exps = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = exps / exps.sum(axis=-1, keepdims=True)
    return shares


def _has_usable(view: FrameView) -> NDArray[np.bool_]:
    padded = np.zeros(view.blocks * view.alines_per_block, np.bool_)
    padded[: len(view.usable)] = view.usable
    return np.asarray(padded.reshape(view.blocks, -1).any(axis=1))


def _nearest_mm(place_scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth (blocks,) where the malignant share of a block's bands first reaches half of its highest, mm."""
    share = _softmax(place_scores)[:, :, _MALIGNANT].sum(axis=2)
    limit = _NEAREST_SHARE * share.max(axis=1)
    band = np.argmax(share >= limit[:, None], axis=1)
    blocks = np.arange(len(share))
    before = share[blocks, np.maximum(band - 1, 0)]
    at = share[blocks, band]
    # Between the centres of the band and of the one above, where the share passes the limit.
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(band > 0, (at - limit) / np.maximum(at - before, 1e-9), 1.0)
    depth_mm = _FIRST_CENTRE_MM + _BAND_MM * (band - np.clip(part, 0.0, 1.0))
    return np.asarray(np.maximum(depth_mm, 0.0), np.float32)


def _mean_attenuation(profile: Profile) -> NDArray[np.float32]:
    """Mean attenuation (blocks,) of what is visualised, 1/mm; NaN where that is less than two bins."""
    seen = profile.bins_seen
    last = np.maximum(seen - 1, 0)
    fall = profile.log_bins[:, 0] - profile.log_bins[np.arange(len(seen)), last]
    with np.errstate(divide="ignore", invalid="ignore"):
        per_mm = np.where(seen >= 2, fall / (2 * last * profile.bin_mm), np.nan)
    return np.asarray(per_mm, np.float32)


assert BANDS * 8 == cells_of.ROWS  # noqa: S101 - the strides of the network and the rows of the cells belong together
