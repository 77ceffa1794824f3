"""What holds for a whole broker, kept in its folder so that users and sites can be added later."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import tomli_w

from octmargin.errors import ConfigError

FILE = "broker.toml"
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*", re.IGNORECASE)


class Auth(StrEnum):
    """How MQTT clients prove who they are. Displays in a browser have passwords in either case."""

    PASSWORDS = "passwords"
    CERTIFICATES = "certificates"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hosts, ports and places. `ConfigError` where they cannot be used."""

    hosts: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    auth: Auth = Auth.PASSWORDS
    port: Port = 8883
    websocket_port: Port = 9001
    installed_at: str
    """The folder that the broker will find its files in."""
    client_folder: str = "/etc/octmargin"
    """The folder that each client will find its files in."""

    def __post_init__(self) -> None:
        for host in self.hosts:
            require_host(host)
        if self.port == self.websocket_port:
            raise ConfigError(f"--port and --websocket-port are both {self.port}; name two ports")
        for option, folder in (
            ("--installed-at", self.installed_at),
            ("--client-folder", self.client_folder),
        ):
            # A line of mosquitto's configuration or a string of TOML has room for any name but this.
            if not folder.startswith("/") or not folder.isprintable():
                raise ConfigError(f"{option} {folder!r}: is no absolute path; name the folder from / on")


def require_host(host: str) -> None:
    """`ConfigError` where `host` is neither a name nor an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _DNS_NAME.fullmatch(host):
            raise ConfigError(
                f"--host {host!r}: is neither a host name nor an IP address; give it without scheme and port"
            ) from None


def load_settings(folder: Path) -> Settings | None:
    """Settings of a broker's folder; None where there are none yet, `ConfigError` where they cannot be read."""
    file = folder / FILE
    try:
        return msgspec.toml.decode(file.read_bytes(), type=Settings)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); check its rights") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file}: {reason}; correct it, or begin in another folder") from error


def settings_toml(settings: Settings) -> str:
    """The file's text."""
    head = "# How `octmargin broker init` made this folder; it reads this when users or sites are added.\n"
    return head + tomli_w.dumps(msgspec.to_builtins(settings))
