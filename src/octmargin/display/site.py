"""What the page is told of the place where it is: names, topics, who it may act as."""

from __future__ import annotations

from typing import Literal

import msgspec

from octmargin import __version__
from octmargin.bus import BrokerSettings, Topics
from octmargin.bus.messages import SCHEMA
from octmargin.display.settings import DisplaySection, has_users
from octmargin.words import NOTICE


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `/api/site`. `user` and `role` are empty where a login is required and nobody has logged in."""

    site: str
    console: str
    base: str
    """What every topic of the console begins with."""
    schema: int = SCHEMA
    """Newest schema of messages that this page knows."""
    user: str
    role: str
    login: Literal["none", "required"]
    version: str = __version__
    broker_websocket: str
    """Where the page speaks MQTT; empty: through `/mqtt` of this server."""
    pedal_key: str
    """Name of the key that a foot pedal presses, as `KeyboardEvent.key` has it."""
    ink: dict[str, str]
    """Colour by face."""
    sutures: str
    """What the sutures say, in the words of the site."""
    opaque_identifiers: bool
    """Whether identifiers of specimens are looked at as `octmargin.identifiers` does where a site has no own scheme."""
    has_record: bool
    """Whether this server has the record of cases, and their reports."""
    notice: str = NOTICE


def make_site(
    topics: Topics,
    section: DisplaySection,
    broker: BrokerSettings,
    *,
    ink: dict[str, str] | None = None,
    sutures: str = "",
    opaque_identifiers: bool = False,
    has_record: bool = False,
) -> Site:
    """What is told where nobody is logged in."""
    login_required = has_users(broker)
    return Site(
        site=topics.site,
        console=topics.console,
        base=topics.base,
        user="" if login_required else section.user,
        role="" if login_required else section.role,
        login="required" if login_required else "none",
        broker_websocket=section.broker_websocket,
        pedal_key=section.pedal_key,
        ink=ink or {},
        sutures=sutures,
        opaque_identifiers=opaque_identifiers,
        has_record=has_record,
    )
