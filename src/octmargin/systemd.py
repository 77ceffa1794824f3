"""Tells systemd how the daemon does (`sd_notify(3)`); says nothing where no service manager asked."""

from __future__ import annotations

import contextlib
import os
import socket

ADDRESS = "NOTIFY_SOCKET"


def notify(*assignments: str) -> bool:
    """Send assignments such as "READY=1" or "STATUS=...", each without a newline; False where nobody listens."""
    address = os.environ.get(ADDRESS, "")
    if not address:
        return False
    # An abstract socket's name begins with NUL, which systemd writes as "@".
    path = "\0" + address[1:] if address.startswith("@") else address
    message = "\n".join(line.replace("\n", " ") for line in assignments).encode()
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
    ):
        # Never waits: a service manager that does not read must not stop the daemon.
        out.setblocking(False)
        out.connect(path)
        out.send(message)
        return True
    return False
