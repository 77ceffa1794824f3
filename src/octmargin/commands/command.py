"""`octmargin command`: tells a running daemon what to do."""

from __future__ import annotations

import asyncio
import getpass
import re
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from octmargin.bus import Topics
from octmargin.bus.orders import ORDERS
from octmargin.bus.rights import Role, Sender
from octmargin.commanding import arguments_of, give
from octmargin.config import load_display_config
from octmargin.errors import EXIT_REFUSED, ConfigError
from octmargin.site.users import User


def command(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(ORDERS)}.", metavar="NAME")],
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The daemon's configuration, or a display's (TOML).")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="Arguments of the command, such as face=superior.", metavar="KEY=VALUE"),
    ] = None,
    user: Annotated[str, typer.Option(help="In whose name; that of broker.username unless given.")] = "",
    role: Annotated[str, typer.Option(help="operator or reader; that of broker.username unless given.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the reply as JSON.")] = False,
) -> None:
    """Tell a running daemon what to do, and print its reply. Exit code 0 done, 3 refused, 2 no answer."""
    settings = load_display_config(config)
    sender = _sender(settings.broker.username, user, role)
    asked = arguments_of(name, dict(_pair(word) for word in arguments or ()))
    # The daemon's own connection must stay: a client id belongs to one.
    broker = msgspec.structs.replace(settings.broker, client_id="")
    reply = asyncio.run(give(broker, Topics(settings.site, settings.console), sender, name, asked))
    if as_json:
        typer.echo(msgspec.json.encode(reply).decode())
    else:
        typer.echo(f"{reply.outcome}: {reply.reason}" if reply.reason else reply.outcome)
    if reply.outcome == "refused":
        raise typer.Exit(EXIT_REFUSED)


def _pair(word: str) -> tuple[str, str]:
    key, sign, value = word.partition("=")
    if not (key and sign):
        raise ConfigError(f"argument {word!r}: give it as KEY=VALUE, such as face=superior")
    return key, value


def _sender(username: str, user: str, role: str) -> Sender:
    """Whoever commands: as the broker knows them, unless options say otherwise."""
    known = User.parse(username)
    if known is not None and known.role.commands:
        user, role = user or known.name, role or known.role.value
    if not user:
        user = re.sub(r"[^a-z0-9-]+", "-", getpass.getuser().lower()).strip("-") or "someone"
    commanding = [each.value for each in Role if each.commands]
    if (role or Role.OPERATOR.value) not in commanding:
        raise ConfigError(f"--role {role!r} gives no commands; use one of {', '.join(commanding)}")
    return Sender(Role(role or Role.OPERATOR.value), user)
