"""What a wire is to a driver: bytes to and from one console."""

from __future__ import annotations

from typing import Protocol

from octmargin.link.commands import Command
from octmargin_drivers.intake import FrameIntake


class Wire(Protocol):
    """Moves bytes to and from one console. Methods block and are called from threads."""

    def send_control(self, command: Command) -> None:
        """Send a request."""
        ...

    def receive_control(self, timeout_s: float) -> Command:
        """Wait for the next command from the console.

        DeviceTimeoutError when time is up; RemoteProtocolError for what is no command.
        """
        ...

    def begin_stream(self, intake: FrameIntake) -> None:
        """Give the frames that arrive from now on to `intake`."""
        ...

    def end_stream(self) -> None:
        """No more frames; `intake` is not touched after this returns."""
        ...

    def close(self) -> None:
        """Let go of the console."""
        ...
