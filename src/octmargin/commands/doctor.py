"""`octmargin doctor`: what is missing on this machine, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from octmargin import kernel_cache
from octmargin.bus import BrokerSettings, Subscriber, Topics, check_credentials
from octmargin.cold_start import ABOUT_S, cached_kernels
from octmargin.config import Config, load_config
from octmargin.config_check import device_findings, judging_finding, place_findings
from octmargin.device import DRIVER_GROUP, Finding, drivers
from octmargin.errors import ConfigError, OctMarginError
from octmargin.live_check import live_findings
from octmargin.record_check import record_findings

_LOGIN_S = 5.0
_PACKAGES = ("numpy", "numba", "scipy", "pyusb", "pyserial", "usbip", "aiomqtt", "iotcore", "msgspec", "h5py")
_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("PROBLEM", "bold red")}


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Also check what this configuration needs.")
    ] = None,
    live: Annotated[
        float | None,
        typer.Option(
            min=1.5, help="Listen to the running daemon of the configuration for so many seconds instead."
        ),
    ] = None,
) -> None:
    """Check packages, permissions, brokers and devices; exit code 1 where something must be mended."""
    if live is not None:
        _finish(_live(config, live))
        return
    # Nothing else is looked at where it cannot be used: it would not be what it names.
    checked = load_config(config) if config is not None else None
    findings = list(_installation())
    if checked is not None:
        findings += [Finding("configuration", "ok", str(config)), judging_finding(checked)]
    findings += asyncio.run(_devices(checked))
    findings.append(_broker(checked))
    if checked is not None:
        findings += [*place_findings(checked), *record_findings(checked.record)]
    _finish(findings)


def _live(config: Path | None, seconds: float) -> list[Finding]:
    if config is None:
        raise ConfigError("doctor --live: name the daemon's configuration with --config")
    settings = load_config(config)
    return asyncio.run(live_findings(settings.broker, Topics(settings.site, settings.console), seconds))


def _finish(findings: list[Finding]) -> None:
    _show(findings)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


def _installation() -> Iterator[Finding]:
    yield Finding("Python", "ok", sys.version.split()[0])
    missing = []
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", "ok", ", ".join(found))
    if missing:
        yield Finding(
            "packages", "problem", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2:
        yield Finding(
            "processor",
            "note",
            "1 core",
            "reading, kernels and publishing share it: expect lost frames at high rates",
        )
    else:
        yield Finding("processor", "ok", f"{cores} cores")
    if unusable := kernel_cache.passed_over():
        remedy = f"unset {kernel_cache.VARIABLE}, or name a folder that can be; meanwhile another one is used"
        yield Finding(
            "kernel cache", "note", f"{kernel_cache.VARIABLE} is {unusable}, which cannot be written", remedy
        )
    yield _kernel_cache()


def _kernel_cache() -> Finding:
    if kernel_cache.is_temporary():
        text = "no folder for compiled kernels can be written: every start compiles them anew"
        return Finding("kernel cache", "note", text, f"set {kernel_cache.VARIABLE} to a folder that can be")
    folder, kernels = cached_kernels()
    warm = (
        f"{kernels} signal kernels compiled" if kernels else f"empty: the first start takes about {ABOUT_S} s"
    )
    return Finding("kernel cache", "ok", f"{folder}, {warm}")


async def _devices(config: Config | None) -> list[Finding]:
    findings: list[Finding] = []
    loaded = drivers()
    findings += [
        Finding(f"driver {entry.name}", "problem", f"{entry.value} cannot be loaded", "reinstall its package")
        for entry in entry_points(group=DRIVER_GROUP)
        if entry.name not in loaded
    ]
    for name, driver in loaded.items():
        findings += await driver.diagnose()
        consoles = await driver.discover()
        findings += [
            Finding(
                f"driver {name}",
                "ok",
                " ".join(filter(None, (i.maker, i.model, i.serial, i.address, i.note))),
            )
            for i in consoles
        ]
        if not consoles:
            findings.append(Finding(f"driver {name}", "ok", "no device found"))
    if config is not None:
        findings += await device_findings(config)
    return findings


def _broker(config: Config | None) -> Finding:
    settings = config.broker if config is not None else BrokerSettings()
    what = f"broker {settings.host}:{settings.port}"
    try:
        check_credentials(settings)
        with socket.create_connection((settings.host, settings.port), timeout=2):
            pass
        if config is None:
            return Finding(what, "ok", "answers")
        asyncio.run(_log_in(config))
        return Finding(what, "ok", f"lets in {settings.username or 'without a name'}")
    except TimeoutError:
        return Finding(what, "problem", "takes a connection and does not answer", "see the broker's log")
    except OctMarginError as error:
        return Finding(what, "problem", str(error))
    except OSError as error:
        remedy = "start one (Debian: apt install mosquitto) or set broker.host and broker.port; the demo brings its own"
        if settings.outbox_file:
            remedy += "; until then what is said waits in the outbox"
        is_needed = config is not None and not settings.outbox_file
        return Finding(what, "problem" if is_needed else "note", f"no broker: {error}", remedy)


async def _log_in(config: Config) -> None:
    """BrokerError where the broker does not let the daemon's user in, or hear its own topics."""
    # Under another client id: its own would put out the daemon that runs.
    settings = msgspec.structs.replace(config.broker, client_id="")
    async with asyncio.timeout(_LOGIN_S), Subscriber(settings, Topics(config.site, config.console)):
        pass


def _show(findings: list[Finding]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for finding in findings:
        word, style = _MARKS[finding.level]
        console.print(Text.assemble((f"{word:<8}", style), f"{finding.subject}: {finding.text}"))
        if finding.remedy:
            console.print(Text(f"{'':<8}-> {finding.remedy}", style="italic"))
