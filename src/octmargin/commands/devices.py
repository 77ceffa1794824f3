"""`octmargin devices`: what each driver finds."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from octmargin.device import driver_class, drivers
from octmargin.errors import ConfigError
from octmargin.frames import ConsoleInfo


def devices(
    address: Annotated[
        str | None,
        typer.Option(
            help="Ask this console only, as DRIVER:ADDRESS, such as usb:usbip://127.0.0.1:3240 or serial:/dev/ttyUSB0."
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List consoles: maker, model, serial number, firmware, address."""
    found = asyncio.run(_find(address))
    if json_output:
        typer.echo(msgspec.json.encode([dataclasses.asdict(info) for info in found]).decode())
        return
    if not found:
        typer.echo(
            "no console found. `octmargin simulate` starts one; `octmargin doctor` says what may be missing."
        )
        return
    for info in found:
        for line in _lines(info):
            typer.echo(line)


def _lines(info: ConsoleInfo) -> Iterator[str]:
    """A console for people; the last lines can go into a configuration as they are."""
    yield " ".join(filter(None, (info.maker, info.model))) or "unknown console"
    if info.serial or info.firmware:
        yield f"  serial number {info.serial or '-'}, firmware {info.firmware or '-'}"
    if info.note:
        yield f"  {info.note}"
    yield f'  driver = "{info.driver}"'
    yield f'  address = "{info.address}"'


async def _find(address: str | None) -> list[ConsoleInfo]:
    if address is not None:
        return [await _ask(address)]
    return [info for driver in drivers().values() for info in await driver.discover()]


async def _ask(address: str) -> ConsoleInfo:
    name, _, rest = address.partition(":")
    if not rest:
        raise ConfigError(f'--address "{address}": write DRIVER:ADDRESS, such as serial:/dev/ttyUSB0')
    driver = driver_class(name)(rest)
    try:
        await driver.open()
        return await driver.identify()
    finally:
        await driver.close()
