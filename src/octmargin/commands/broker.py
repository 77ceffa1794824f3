"""`octmargin broker`: certificates, users, rights and configuration of a site's MQTT broker."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from octmargin.bus.broker import EmbeddedBroker
from octmargin.bus.rights import Role
from octmargin.errors import BrokerError, ConfigError
from octmargin.site.export import export_for_emqx
from octmargin.site.settings import Auth
from octmargin.systemd import notify

_LOOK_S = 1.0
"""How often the embedded broker is looked at."""

broker = typer.Typer(no_args_is_help=True, help="Prepare a site's MQTT broker, or run one for this machine.")


@broker.callback()
def _group() -> None:
    """Prepare a site's MQTT broker, or run one for this machine."""


@broker.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The broker's folder; new, or one that users are added to.")],
    site: Annotated[str, typer.Option(help="Site, as in the daemons' configurations.")],
    console: Annotated[list[str] | None, typer.Option(help="A console; once for each.")] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or IP address by which clients reach the broker; once for each, the usual one first."
        ),
    ] = None,
    operator: Annotated[
        list[str] | None,
        typer.Option(help='A user who runs consoles; in a new site "operator" unless given.'),
    ] = None,
    reader: Annotated[
        list[str] | None, typer.Option(help='A user who may decide; in a new site "reader" unless given.')
    ] = None,
    viewer: Annotated[
        list[str] | None, typer.Option(help='A display that only shows; in a new site "viewer" unless given.')
    ] = None,
    archive: Annotated[
        list[str] | None,
        typer.Option(help='A user who keeps everything; in a new site "archive" unless given.'),
    ] = None,
    days: Annotated[
        int,
        typer.Option(
            min=1, max=825, help="Validity of certificates; Apple's systems accept 825 days at most."
        ),
    ] = 825,
    auth: Annotated[
        Auth | None,
        typer.Option(help="How MQTT clients prove who they are; passwords unless given."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="MQTT over TLS; 8883 unless given.")
    ] = None,
    websocket_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="MQTT over WebSockets over TLS; 9001 unless given.")
    ] = None,
    installed_at: Annotated[
        str | None,
        typer.Option(
            help="Folder on its machine that FOLDER/broker will be copied to; FOLDER/broker itself unless given."
        ),
    ] = None,
    client_folder: Annotated[
        str | None,
        typer.Option(help="Folder for its files on each client's machine; /etc/octmargin unless given."),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Renew certificates that end within 30 days or lack a --host.")
    ] = False,
) -> None:
    """Write CA, certificates, users, rights and mosquitto's configuration; add to what is there, never overwrite it."""
    if find_spec("cryptography") is None:
        raise ConfigError(
            "octmargin broker init: the package cryptography is missing; pip install 'octmargin[broker]'"
        )
    from octmargin.site.prepare import Request, prepare  # noqa: PLC0415 - an extra: only this command needs it

    names = {
        Role.CONSOLE: console,
        Role.OPERATOR: operator,
        Role.READER: reader,
        Role.VIEWER: viewer,
        Role.ARCHIVE: archive,
    }
    request = Request(
        folder=folder,
        site=site,
        names={role: tuple(given or ()) for role, given in names.items()},
        hosts=tuple(host or ()),
        auth=auth,
        port=port,
        websocket_port=websocket_port,
        installed_at=installed_at,
        client_folder=client_folder,
        days=days,
        renew=renew,
    )
    report = prepare(request, datetime.now(UTC))
    for line in report.done or ["nothing to do: everything is there"]:
        typer.echo(line)
    for note in report.notes:
        typer.echo(f"note: {note}")
    if report.done:
        typer.echo(f"{folder / 'README.md'} says what belongs where.")


@broker.command()
def emqx(
    folder: Annotated[Path, typer.Argument(help="The broker's folder, as `octmargin broker init` made it.")],
) -> None:
    """Write the folder's users, rights and settings for EMQX into FOLDER/emqx; docs/brokers.md says what to do."""
    for line in export_for_emqx(folder):
        typer.echo(line)


@broker.command()
def run(
    port: Annotated[int, typer.Option(min=0, max=65535, help="MQTT 5; 0 takes a free one.")] = 1883,
    websocket_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="MQTT 3.1.1 over WebSockets too; 0 takes a free port."),
    ] = None,
) -> None:
    """Run the embedded broker for this machine alone, until Ctrl-C: no users, no rights, nothing kept on disk."""
    over = threading.Event()
    with EmbeddedBroker(port=port, websocket_port=websocket_port) as running:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        web = f", WebSockets on port {running.websocket_port}" if running.websocket_port is not None else ""
        typer.echo(
            f"MQTT 5 broker on {running.host}:{running.port}{web}, for this machine alone; Ctrl-C ends it"
        )
        notify("READY=1")
        while not over.wait(_LOOK_S):
            if not running.is_running:
                raise BrokerError(
                    "the embedded broker ended by itself; start it again, or run one such as mosquitto"
                )
        notify("STOPPING=1")
