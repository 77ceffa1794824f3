"""What holds up a scan, as events that it can wait for: a wish of the case, or the daemon's end."""

from __future__ import annotations

import asyncio

from octmargin.stage import Wish


class ScanControl:
    """Follows what is wished. One event loop's thread may use it."""

    def __init__(self) -> None:
        self.interrupted = asyncio.Event()
        """Set while a sweep is to stand still or to end."""
        self.ended = asyncio.Event()
        """Set while the face is to end."""
        self.going = asyncio.Event()
        """Cleared while a sweep is to stand still."""
        self.going.set()
        self.holds = 0
        """How often it was to stand still."""
        self._wish = Wish.REST
        self._is_stopping = False

    @property
    def is_held(self) -> bool:
        """Whether a sweep is to stand still."""
        return not self.going.is_set()

    def follow(self, wish: Wish) -> None:
        """Do what is wished from now on."""
        self._wish = wish
        ends = self._is_stopping or wish is Wish.END
        holds = wish is Wish.HOLD and not ends
        self.holds += holds and not self.is_held
        _put(self.ended, ends)
        _put(self.interrupted, ends or holds)
        _put(self.going, not holds)

    def stop(self) -> None:
        """The daemon is to end, whatever is wished."""
        self._is_stopping = True
        self.follow(self._wish)


def _put(event: asyncio.Event, is_so: bool) -> None:
    if is_so:
        event.set()
    else:
        event.clear()
