"""What a configuration needs of this machine, found out without a scan: what `run` would refuse is a problem."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from octmargin.bus import Topics
from octmargin.config import Config
from octmargin.device import Finding, driver_class
from octmargin.display import check_serving
from octmargin.errors import ConfigError, DeviceBusyError, DeviceNotFoundError, OctMarginError
from octmargin.grid_check import grid_trouble
from octmargin.holding import holding
from octmargin.interruptible import StandstillError
from octmargin.margin.grid import known_grid
from octmargin.metrics import MetricsPage, serving
from octmargin.outbox_check import outbox_findings
from octmargin.startup import check_folder, check_scan, choose_calibration, load_calibration, make_assessor
from octmargin.words import size

LITTLE_BYTES = 100_000_000
"""So little space is worth a note: raw spectra fill it within seconds."""


async def device_findings(config: Config) -> list[Finding]:
    """What `run` will ask of the console: is it free and there, can it do the scan, is it calibrated.

    And of the ports of metrics and display, where nobody has the console: its daemon has them too.
    """
    device = config.device
    what = f"device {device.driver} {device.address}"
    of_grid: list[Finding] = []
    try:
        kind = driver_class(device.driver)
        driver = kind(device.address)
        loaded = load_calibration(config.calibration)
        with contextlib.ExitStack() as held:
            if kind.exclusive:
                held.enter_context(holding(device.driver, device.address, "octmargin doctor"))
            try:
                await driver.open()
                info = await driver.identify()
            finally:
                await driver.close()
        check_scan(config, info.capabilities)
        _, axial_um = choose_calibration(config.calibration, loaded, info.capabilities)
        of_grid = _grid(config, info.capabilities, axial_um)
    except DeviceBusyError as error:
        live = "`octmargin doctor -c FILE --live 5` says how a daemon does that runs"
        return [Finding(what, "problem", str(error), live)]
    except DeviceNotFoundError as error:
        simulated = "`octmargin simulate` starts a simulated console"
        found = Finding(what, "problem", str(error), simulated)
    except OctMarginError as error:
        found = Finding(what, "problem", str(error))
    else:
        about = f"{info.maker} {info.model}, serial number {info.serial}, firmware {info.firmware}"
        found = Finding(what, "ok", about)
    return [found, *of_grid, *_metrics(config), *_display(config)]


def judging_finding(config: Config) -> Finding:
    """Of model and policy: are they there, and do they go together."""
    try:
        assessor = make_assessor(config)
        model = assessor.model.identity
    except OctMarginError as error:
        return Finding("model", "problem", str(error))
    known = known_grid(assessor.model)
    return Finding("model", "ok", f"{model.name} {model.version}" + (f", knows {known}" if known else ""))


def _grid(config: Config, capabilities: dict[str, Any], axial_um: float) -> list[Finding]:
    """Of the grid that would be scanned: can it clear a face. It is scanned all the same."""
    try:
        model = make_assessor(config).model
    except OctMarginError:
        # `judging_finding` says so.
        return []
    plan = config.plan(config.scan.faces[0], capabilities)
    trouble = grid_trouble(
        model,
        plan,
        axial_um,
        max_frame_um=config.policy.max_frame_um,
        max_alines=capabilities["max_alines"],
        max_frames=capabilities["max_frames"],
    )
    if trouble is None:
        return []
    return [Finding("grid", "note", trouble.text, trouble.remedy)]


def place_findings(config: Config) -> Iterator[Finding]:
    """Of what is written beside results, where it is configured: can it be written, and is there space."""
    decisions, display = config.case.decisions_file, config.display
    places = (
        ("pictures", "pictures.folder", config.pictures and config.pictures.folder, None),
        ("recording", "recording.folder", config.recording and config.recording.folder, None),
        ("decisions", "case.decisions_file", decisions and str(Path(decisions).absolute().parent), decisions),
        ("photos", "display.photo_folder", display and display.photo_folder, None),
    )
    for what, key, folder, file in places:
        if not folder:
            continue
        path = Path(file or folder).absolute()
        try:
            check_folder(folder, key)
        except ConfigError as error:
            yield Finding(what, "problem", str(error))
        except StandstillError:
            yield Finding(what, "problem", f"{path}: the disk stands still", "mend it, or name another")
        else:
            yield space_finding(what, path)
    if config.broker.outbox_file:
        outbox = Path(config.broker.outbox_file)
        of_outbox = list(outbox_findings(outbox, Topics(config.site, config.console).base))
        yield from of_outbox
        if all(finding.level != "problem" for finding in of_outbox):
            yield space_finding("outbox", outbox)


def space_finding(what: str, path: Path) -> Finding:
    """How much can be written to `path`, which need not be there yet; a note where that is little."""
    there = next(place for place in (path, *path.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < LITTLE_BYTES:
        return Finding(what, "note", f"{path}, only {size(free)} free", "make space, or name another disk")
    return Finding(what, "ok", f"{path}, {size(free)} free")


def _metrics(config: Config) -> Iterator[Finding]:
    if config.metrics is None:
        return
    where = f"{config.metrics.host}:{config.metrics.port}"
    try:
        with serving(MetricsPage(), config.metrics):
            yield Finding("metrics", "ok", f"{where} is free")
    except ConfigError as error:
        yield Finding("metrics", "problem", str(error))


def _display(config: Config) -> Iterator[Finding]:
    if config.display is None:
        return
    try:
        check_serving(config.display)
    except ConfigError as error:
        yield Finding("display", "problem", str(error))
    else:
        yield Finding("display", "ok", f"{config.display.host}:{config.display.port} is free")
