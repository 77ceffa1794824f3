"""Ports for servers that a test starts, and may stop and start again."""

from __future__ import annotations

import contextlib
import secrets
import socket

_FIRST, _LAST = 15_000, 32_000
"""Below those that the system gives to connections: one of these could take the port while its server is away."""


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now."""
    while True:
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
