"""`octmargin watch`: a terminal subscriber."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from octmargin.bus import BrokerSettings, TlsSettings, Topics
from octmargin.errors import BrokerError, ConfigError
from octmargin.watch import watch as watch_bus

_OPTIONS = {
    "broker.host/broker.port": "--host and --port",
    "broker.username": "--username",
    "broker.password_file": "--password-file",
    "broker.tls.ca_file": "--ca-file",
    "broker.tls": "--ca-file, --cert-file and --key-file",
}
"""What the daemon's configuration calls it, and this command."""


def watch(
    host: Annotated[str, typer.Option(help="The broker's host.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The broker's port (MQTT 5).")] = 1883,
    username: Annotated[str, typer.Option(help="User at the broker.")] = "",
    password_file: Annotated[str, typer.Option(help="File with the password.")] = "",
    ca_file: Annotated[str, typer.Option(help="CA certificate: use TLS.")] = "",
    cert_file: Annotated[str, typer.Option(help="Our own certificate, where the broker asks for one.")] = "",
    key_file: Annotated[str, typer.Option(help="Its key.")] = "",
    site: Annotated[str, typer.Option(help="Site, as in the daemon's configuration.")] = "demo",
    console: Annotated[str, typer.Option(help="Console, as in the daemon's configuration.")] = "simulator",
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds.")] = None,
) -> None:
    """Show state, faces, flags and rates live, until Ctrl-C."""
    uses_tls = bool(ca_file or cert_file)
    tls = TlsSettings(ca_file=ca_file, cert_file=cert_file, key_file=key_file) if uses_tls else None
    settings = BrokerSettings(host=host, port=port, username=username, password_file=password_file, tls=tls)
    try:
        asyncio.run(watch_bus(settings, Topics(site, console), seconds=seconds))
    except (BrokerError, ConfigError) as error:
        raise type(error)(_with_options(str(error))) from error


def _with_options(text: str) -> str:
    for key, option in _OPTIONS.items():
        text = text.replace(key, option)
    return text
