"""`octmargin devices`: what each driver finds."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from octmargin.device import driver_class, drivers
from octmargin.errors import ConfigError, DeviceError
from octmargin.frames import ConsoleInfo


def devices(
    address: Annotated[
        str | None,
        typer.Option(
            help="Ask this console too, as DRIVER:ADDRESS, such as usb:usbip://127.0.0.1:3240 or serial:/dev/ttyUSB0."
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
    table = Table(
        "driver", "maker", "model", "serial number", "firmware", "address", "note", box=None, pad_edge=False
    )
    for info in found:
        table.add_row(
            info.driver, info.maker, info.model, info.serial, info.firmware, info.address, info.note
        )
    Console(soft_wrap=True).print(table)


async def _find(address: str | None) -> list[ConsoleInfo]:
    found = [info for driver in drivers().values() for info in await driver.discover()]
    if address is not None:
        found.append(await _ask(address))
    return found


async def _ask(address: str) -> ConsoleInfo:
    name, _, rest = address.partition(":")
    if not rest:
        raise ConfigError(f'--address "{address}": write DRIVER:ADDRESS, such as serial:/dev/ttyUSB0')
    driver = driver_class(name)(rest)
    try:
        await driver.open()
        return await driver.identify()
    except DeviceError as error:
        return ConsoleInfo(name, rest, note=str(error))
    finally:
        await driver.close()
