"""What a client gets: the `[broker]` table of its configuration."""

from __future__ import annotations

import json

from octmargin.bus.rights import Role
from octmargin.site.settings import Auth, Settings
from octmargin.site.users import User

PASSWORD_FILE = "password"  # noqa: S105 - a file's name
AUTHORITY_FILE = "ca.pem"
CERTIFICATE_FILE = "client.pem"
KEY_FILE = "client.key"
TABLE_FILE = "broker.toml"

IN_BROWSERS = (Role.OPERATOR, Role.READER, Role.VIEWER)
"""Roles of displays: they come over WebSockets, where browsers are asked for passwords and not for certificates."""


def has_password(user: User, auth: Auth) -> bool:
    """Whether a user logs in with a password anywhere."""
    return auth is Auth.PASSWORDS or user.role in IN_BROWSERS


def broker_table(user: User, settings: Settings) -> str:
    """TOML that goes into a daemon's configuration; for other clients it says the same."""
    place = settings.client_folder.rstrip("/")
    tls = {"ca_file": f"{place}/{AUTHORITY_FILE}"}
    keys: dict[str, str | int] = {"host": settings.hosts[0], "port": settings.port}
    if settings.auth is Auth.CERTIFICATES:
        tls |= {"cert_file": f"{place}/{CERTIFICATE_FILE}", "key_file": f"{place}/{KEY_FILE}"}
    else:
        keys |= {"username": user.username, "password_file": f"{place}/{PASSWORD_FILE}"}
    lines = [
        f"# How {user.role} {user.name} of site {user.site} reaches the broker.",
        f"# The files beside this one belong in {place}/, readable for the user alone that the client runs as.",
    ]
    if user.role is Role.CONSOLE:
        own = f"site = {json.dumps(user.site)} and console = {json.dumps(user.name)}"
        lines.append(f"# Its configuration has {own} at the top.")
    lines += ["[broker]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    lines.append(f"tls = {{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in tls.items())} }}")
    if user.role is Role.CONSOLE:
        lines += [
            "# With this file, what waits for the broker survives the daemon, and scanning begins without a broker:",
            '# outbox_file = "/var/lib/octmargin/outbox.sqlite"',
        ]
    if user.role in IN_BROWSERS:
        lines += [
            "",
            f"# In a browser: wss://{_in_url(settings.hosts[0])}:{settings.websocket_port},",
            f"# user {user.username} with the password of the file {PASSWORD_FILE}.",
        ]
    return "\n".join(lines) + "\n"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
