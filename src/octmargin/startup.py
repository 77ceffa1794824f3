"""What follows from a configuration and the console that was found: calibration, plan, description."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from octmargin import __version__
from octmargin.bus import (
    CalibrationDescription,
    ConsoleDescription,
    Description,
    ModelDescription,
    ScanDescription,
    Specimen,
    utc_from_ns,
)
from octmargin.config import DEFAULT_DEPTH, CalibrationSection, Config, EngineSection, JudgingSection
from octmargin.device import driver_class
from octmargin.engine import EngineSettings
from octmargin.errors import CalibrationError, ConfigError
from octmargin.frames import ALINES_PER_BLOCK, ConsoleInfo, ScanPlan
from octmargin.interruptible import StandstillError, within
from octmargin.margin import Assessor, MarginModel, RuleModel
from octmargin.places import Places
from octmargin.signal import Calibration
from octmargin.stage import CaseSession, Conventions, Stage

_FOLDER_S = 1.0
"""So long a folder may take to tell whether it can be written."""


def load_calibration(section: CalibrationSection) -> Calibration | None:
    """The calibration of the file that is configured; None where the console's maker is to bring it.

    CalibrationError where it cannot be used, ConfigError where there is no depth scale: found out without a console.
    """
    if section.file is None:
        return None
    calibration = Calibration.load(section.file)
    _axial_um(section, calibration)
    return calibration


def choose_calibration(
    section: CalibrationSection, loaded: Calibration | None, capabilities: dict[str, Any]
) -> tuple[Calibration, float]:
    """The calibration that was loaded, or the one of the console's maker, and the depth pixel in tissue, µm.

    CalibrationError where there is neither, ConfigError where there is no depth scale.
    """
    factory = capabilities.get("calibration")
    if loaded is not None:
        calibration = loaded
    elif factory is not None:
        calibration = Calibration.from_polynomial(
            factory["k_map"],
            factory["dispersion_rad"],
            samples=capabilities["samples"],
            axial_um=factory["axial_um"],
        )
    else:
        raise CalibrationError(
            "the console brings no calibration; make one with `octmargin calibrate` and set calibration.file"
        )
    return calibration, _axial_um(section, calibration)


def _axial_um(section: CalibrationSection, calibration: Calibration) -> float:
    axial_um = section.axial_um or calibration.axial_um
    if axial_um is None:
        raise ConfigError(
            "the calibration has no depth scale; set calibration.axial_um (depth pixel in tissue, µm): "
            "distances and attenuation need it"
        )
    return axial_um


def kept_depth(depth: int | None, samples: int) -> int:
    """Depth pixels kept of spectra, as `engine.depth` says, but no more than there are."""
    return min(depth or DEFAULT_DEPTH, samples // 2)


def check_depth(depth: int | None, samples: int) -> None:
    """ConfigError where more depth pixels are configured than spectra of so many samples have."""
    if depth is not None and depth > samples // 2:
        raise ConfigError(
            f"engine.depth is {depth}, but spectra of {samples} samples have {samples // 2} depth pixels; lower it"
        )


def check_folder(folder: str, key: str) -> None:
    """ConfigError where nothing can be written into `folder`, which `key` of the configuration names.

    StandstillError where its disk does not tell in time. Leaves nothing there, not even the folder where there is none.
    """
    path = Path(folder).absolute()

    def write() -> None:
        there = next(place for place in (path, *path.parents) if os.path.lexists(place))
        # The rights alone do not tell: root has them in /proc too.
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"octmargin")

    try:
        within(_FOLDER_S, write)
    except OSError as error:
        raise ConfigError(
            f"{key}: {folder} is no folder that can be written ({error.strerror}); name another one, or mend its "
            "permissions or its disk"
        ) from error


def check_named(config: Config) -> None:
    """ConfigError where the configuration names a console or a folder that can be none, whatever is connected."""
    driver_class(config.device.driver)(config.device.address)
    folders = {
        "pictures.folder": config.pictures.folder if config.pictures else "",
        "display.photo_folder": config.display.photo_folder if config.display else "",
    }
    for key, folder in folders.items():
        # A disk that stands still may come back.
        with contextlib.suppress(StandstillError):
            if folder:
                check_folder(folder, key)


def check_scan(config: Config, capabilities: dict[str, Any]) -> None:
    """ConfigError where the console cannot scan what is configured: better said now than for every face."""
    check_depth(config.engine.depth, capabilities["samples"])
    scan = config.scan
    offered = capabilities["faces"]
    for face in scan.faces:
        if offered and face not in offered:
            raise ConfigError(f'scan.faces: the console has no face "{face}"; it offers {", ".join(offered)}')
    for key, wanted, limit in (
        ("alines", scan.alines, capabilities["max_alines"]),
        ("frames", scan.frames, capabilities["max_frames"]),
        ("line_rate_hz", scan.line_rate_hz, capabilities["max_line_rate_hz"]),
    ):
        if wanted is not None and limit is not None and wanted > limit:
            raise ConfigError(f"scan.{key} is {wanted:g}, but the console offers at most {limit:g}; lower it")


def first_case(config: Config, capabilities: dict[str, Any]) -> CaseSession:
    """The case as it begins: with the specimen of the configuration, or with none where scanning is on command."""
    case = config.case
    stage = Stage(case.case_id)
    if config.scan.begin == "at-once":
        specimen = Specimen(
            kind=case.kind, laterality=case.laterality, orientation=case.orientation, label=case.label
        )
        stage = Stage(case.case_id, case.specimen_id, specimen, config.scan.faces)
    conventions = Conventions(
        faces=config.scan.faces, offered=tuple(capabilities["faces"]), scheme=config.case.scheme
    )
    return CaseSession(stage, conventions, draw_id=lambda: f"s-{secrets.token_hex(4)}")


def make_assessor(judging: JudgingSection, rolloff_db_per_mm: float = 0.0) -> Assessor:
    """Make an assessor as configured.

    ConfigError for a model that does not exist or cannot be read, or a policy that does not go with it.
    """
    name = judging.model.name
    model: str | MarginModel = RuleModel(judging.rule) if name == "rule-1" else name
    assessor = Assessor(
        model,
        suspicious_at=judging.model.suspicious_at,
        quality=judging.quality,
        rolloff_db_per_mm=rolloff_db_per_mm,
    )
    judging.policy.operating_point(assessor.model.operating_point)
    return assessor


def engine_settings(
    judging: JudgingSection,
    engine: EngineSection,
    plan: ScanPlan,
    calibration: Calibration,
    axial_um: float,
    *,
    bscan_every: int = 0,
) -> EngineSettings:
    """How frames of `plan` are reconstructed and judged."""
    return EngineSettings(
        calibration=calibration,
        axial_um=axial_um,
        samples=plan.samples,
        depth=kept_depth(engine.depth, plan.samples),
        make_assessor=lambda: make_assessor(judging, calibration.rolloff_db_per_mm(axial_um)),
        aline_um=1000 * plan.width_mm / plan.alines,
        bscan_every=bscan_every,
        interpolation=engine.interpolation,
        running_mean_frames=engine.running_mean_frames,
        remove_fixed_pattern=engine.remove_fixed_pattern,
    )


def describe(
    config: Config,
    info: ConsoleInfo,
    plan: ScanPlan,
    calibration: Calibration,
    axial_um: float,
    *,
    session: str,
    synthetic: bool,
    display_url: str = "",
) -> Description:
    """Who publishes, with what: software, model, calibration, configuration, console, geometry, policy.

    No paths, and no names of files of measured spectra: they may be named after a patient.
    """
    model = make_assessor(config).model
    places = Places(config)
    return Description(
        acquired_at=utc_from_ns(time.time_ns()),
        synthetic=synthetic,
        instance_id=session,
        software_version=__version__,
        model=ModelDescription(
            name=model.identity.name, version=model.identity.version, hash=model.identity.fingerprint
        ),
        calibration=CalibrationDescription(
            id=places.without(config.calibration.file or f"factory, console {info.serial}"),
            hash=calibration_fingerprint(calibration),
        ),
        configuration_hash=config.fingerprint(),
        console=ConsoleDescription(
            maker=info.maker,
            model=info.model,
            serial=info.serial,
            firmware=info.firmware,
            driver=info.driver,
            address=places.without(info.address),
            simulated=bool(info.capabilities.get("simulated", True)),
            source=_source(info.capabilities, synthetic=synthetic),
        ),
        scan=ScanDescription(
            samples=plan.samples,
            alines=plan.alines,
            frames=plan.frames,
            width_mm=plan.width_mm,
            height_mm=plan.height_mm,
            line_rate_hz=plan.line_rate_hz,
            alines_per_block=ALINES_PER_BLOCK,
        ),
        policy=msgspec.to_builtins(config.policy)
        | asdict(config.policy.operating_point(model.operating_point)),
        axial_um=axial_um,
        depth=kept_depth(config.engine.depth, plan.samples),
        display_url=display_url,
    )


def _source(capabilities: Mapping[str, Any], *, synthetic: bool) -> str:
    source = str(capabilities.get("source", ""))
    return source if synthetic or not source else "measured spectra"


def calibration_fingerprint(calibration: Calibration) -> str:
    """A short hash of everything that a calibration does to spectra, for the record."""
    digest = hashlib.sha256()
    for part in (calibration.k_map, calibration.dispersion_rad, calibration.background, calibration.window):
        is_array = isinstance(part, np.ndarray)
        digest.update(np.ascontiguousarray(part).tobytes() if is_array else repr(part).encode())
    digest.update(repr(calibration.axial_um).encode())
    return digest.hexdigest()[:16]
