"""The configuration of mosquitto 2.0 or newer."""

from __future__ import annotations

from octmargin.bus.broker import MAX_PAYLOAD_BYTES
from octmargin.site.settings import Auth, Settings

HEADER_BYTES = 65_536

_CONFIGURATION = """\
# mosquitto for octmargin, written once by `octmargin broker init`; change it as you like. docs/brokers.md explains it.

# Users and rights are the same on all listeners. Nobody is let in without a name, and who has no lines in the access
# list has no rights: several sites may share this broker without reading each other.
per_listener_settings false
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/acl

# What is retained, and what waits for an archive with a session of its own, survives a restart of the broker.
# Displays do not trust what a broker remembers: they wait for a live message of the daemon.
persistence true
persistence_location {folder}/data/
autosave_interval 60
# A session that nobody came back to in a week would fill memory for ever.
persistent_client_expiration 7d

# Who sends a larger packet is disconnected. The largest of octmargin, a map, has one letter for each block of a face.
max_packet_size {packet_bytes}

# What may wait for one client that is slow or away. Flags expire after 10 s, so at 100 messages/s this is enough for
# ten consoles; verdicts and maps live for half an hour and are few.
max_queued_messages 10000
max_queued_bytes 67108864

# Small messages leave at once instead of waiting for the acknowledgement of the one before.
set_tcp_nodelay true

# MQTT over TLS: daemons, archives, terminals.
listener {port}
{tls}{identity}
# MQTT over WebSockets over TLS: displays in a browser.{browsers}
listener {websocket_port}
protocol websockets
{tls}"""

_TLS = """\
certfile {folder}/broker.pem
keyfile {folder}/broker.key
tls_version tlsv1.2
"""

_IDENTITY = """\
# Who they are is what their certificate says: its common name is the user name, and no password is asked for. Only
# certificates of this authority count, so keep its key away from the broker.
cafile {folder}/ca.pem
require_certificate true
use_identity_as_username true
"""


def configuration(settings: Settings) -> str:
    """Text of `mosquitto.conf`."""
    folder = settings.installed_at
    by_certificate = settings.auth is Auth.CERTIFICATES
    return _CONFIGURATION.format(
        folder=folder,
        packet_bytes=MAX_PAYLOAD_BYTES + HEADER_BYTES,
        port=settings.port,
        websocket_port=settings.websocket_port,
        tls=_TLS.format(folder=folder),
        identity=_IDENTITY.format(folder=folder) if by_certificate else "",
        browsers=" They log in with passwords." if by_certificate else "",
    )
