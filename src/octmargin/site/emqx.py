"""The same users and rights for EMQX 5.1.1 or newer: its access list, its users, and what its configuration needs.

Written from EMQX's documentation and sources, and judged in tests by its rules; not tried on a running EMQX.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from octmargin.bus.broker import MAX_PAYLOAD_BYTES
from octmargin.bus.rights import Role
from octmargin.bus.topics import ROOT
from octmargin.site.mosquitto import HEADER_BYTES
from octmargin.site.settings import Auth, Settings
from octmargin.site.users import User

_HEAD = """\
%% Rights of octmargin's users, for EMQX 5.1.1 or newer; by `octmargin broker emqx`, whole: write it anew for new users.
%% The first rule that matches counts, and the last one denies. docs/brokers.md of octmargin explains it.
"""
_CONFIGURATION = """\
# What octmargin needs of EMQX 5.1.1 or newer, for etc/base.hocon; by `octmargin broker emqx`.
# docs/brokers.md of octmargin explains it.
authentication = [
  {{
    mechanism = password_based
    backend = built_in_database
    user_id_type = username
    password_hash_algorithm {{ name = pbkdf2, mac_fun = sha512, iterations = 100000 }}
    # Read once, when this is created; then delete the file. Later users by the dashboard or the API.
    bootstrap_file = "etc/octmargin-users.csv"
    bootstrap_type = plain
  }}
]

authorization {{
  # The default allows what no rule names.
  no_match = deny
  # A display whose subscription is refused is told so, and stays connected.
  deny_action = ignore
  # Rights that were taken away hold for so long yet.
  cache {{ enable = true, ttl = 10s }}
  sources = [{{ type = file, enable = true, path = "etc/octmargin-acl.conf" }}]
}}

listeners.tcp.default.enable = false
listeners.ws.default.enable = false
listeners.ssl.default {{
  bind = "0.0.0.0:{port}"
{identity}  ssl_options {{
    certfile = "etc/certs/octmargin/broker.pem"
    keyfile = "etc/certs/octmargin/broker.key"
    cacertfile = "etc/certs/octmargin/ca.pem"
    versions = ["tlsv1.3", "tlsv1.2"]
    verify = {verify}
    fail_if_no_peer_cert = {asked}
  }}
}}
listeners.wss.default {{
  bind = "0.0.0.0:{websocket_port}"
  websocket.mqtt_path = "/mqtt"
  ssl_options {{
    certfile = "etc/certs/octmargin/broker.pem"
    keyfile = "etc/certs/octmargin/broker.key"
    versions = ["tlsv1.3", "tlsv1.2"]
    verify = verify_none
  }}
}}

mqtt {{
  # The largest message of octmargin, a map, has one letter for each block of a face.
  max_packet_size = {packet_bytes}
  retain_available = true
  # What may wait for one client; at 100 messages/s a console has 1000 flags waiting before they expire.
  max_mqueue_len = 10000
}}

retainer {{
  enable = true
  max_payload_size = {packet_bytes}
  # Nothing beside the expiry that a message brings.
  msg_expiry_interval = 0s
  # Not in memory alone, so that it survives a restart.
  backend {{ type = built_in_database, storage_type = disc }}
}}
{zone}"""
_BY_CERTIFICATE = """\
  # Who they are is what their certificate says, and no password is asked for.
  zone = octmargin_certificates
  enable_authn = false
"""
_ZONE = """
zones.octmargin_certificates.mqtt.peer_cert_as_username = cn
"""


def access_list(users: Iterable[User]) -> str:
    """Text of `acl.conf`: what each user may read and write, as on mosquitto."""
    users = tuple(users)
    sites = sorted({user.site for user in users})
    rules = [rule for site in sites for rule in _rules(site, [user for user in users if user.site == site])]
    return "\n".join((_HEAD.rstrip("\n"), *rules, "{deny, all}.", ""))


def users_file(passwords: Iterable[tuple[User, str]]) -> str:
    """Text of the file that EMQX reads users from: names, and passwords in the clear."""
    lines = (f"{user.username},{password},false" for user, password in passwords)
    return "\n".join(("user_id,password,is_superuser", *lines, ""))


def configuration(settings: Settings) -> str:
    """Text for `base.hocon`."""
    by_certificate = settings.auth is Auth.CERTIFICATES
    return _CONFIGURATION.format(
        port=settings.port,
        websocket_port=settings.websocket_port,
        identity=_BY_CERTIFICATE if by_certificate else "",
        verify="verify_peer" if by_certificate else "verify_none",
        asked="true" if by_certificate else "false",
        packet_bytes=MAX_PAYLOAD_BYTES + HEADER_BYTES,
        zone=_ZONE if by_certificate else "",
    )


def _rules(site: str, users: list[User]) -> Iterator[str]:
    base = f"{ROOT}/{site}"
    displays = [user for user in users if user.role not in (Role.CONSOLE, Role.ARCHIVE)]
    consoles = [user for user in users if user.role is Role.CONSOLE]
    yield f"%% site {site}"
    for user in consoles:
        yield _rule("allow", [user], "all", [f"{base}/{user.name}/#"])
    for user in users:
        if user.role is Role.ARCHIVE:
            yield _rule("allow", [user], "subscribe", [f"{base}/#"])
    for user in displays:
        if user.role.commands:
            own = f"{user.role}/{user.name}"
            yield _rule("allow", [user], "{publish, [{retain, false}]}", [f"{base}/+/cmd/{own}/+"])
            yield _rule("allow", [user], "subscribe", [f"{base}/+/reply/{own}"])
    if displays:
        # EMQX judges a subscription by its filter, and lets "+" of a rule stand for "#" of a filter. So these would be
        # allowed below, and would bring commands and replies.
        places = [f"{base}/{console}" for console in ("+", *(console.name for console in consoles))]
        wide = [f"{place}{part}/#" for place in places for part in ("", "/+", "/cmd", "/reply")]
        yield _rule("deny", displays, "subscribe", wide, exactly=True)
        yield _rule("allow", displays, "subscribe", [f"{base}/+/+", f"{base}/+/+/+"])


def _rule(
    permission: str, users: list[User], action: str, topics: list[str], *, exactly: bool = False
) -> str:
    names = [f"{{username, {json.dumps(user.username)}}}" for user in users]
    who = names[0] if len(names) == 1 else f"{{'or', [{', '.join(names)}]}}"
    quoted = [json.dumps(topic) for topic in topics]
    patterns = ", ".join(f"{{eq, {topic}}}" for topic in quoted) if exactly else ", ".join(quoted)
    return f"{{{permission}, {who}, {action}, [{patterns}]}}."
