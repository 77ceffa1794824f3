"""One connection to the broker after the other, until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiomqtt

from octmargin.bus.client import Client
from octmargin.bus.connection import Connector
from octmargin.errors import BrokerError, BrokerUnreachableError, first_cause


class _StopRequestedError(Exception):
    """Ends the task group of a connection in an orderly way, so that no last will is published."""


class ReconnectingClient:
    """Connects, lets `serve` use the connection until it breaks, and connects again after a pause.

    Until `prove` was called a failure is final: then `run` raises it, a `BrokerError` of one line; unless it is
    `patient` and nobody answers. Else `on_lost` is told the reason each time.
    """

    def __init__(
        self,
        connector: Connector,
        make_client: Callable[[], Client],
        serve: Callable[[Client], Coroutine[Any, Any, None]],
        on_lost: Callable[[str], None],
        *,
        patient: bool = False,
    ) -> None:
        self.connected = False
        self.reconnects = 0
        self._connector = connector
        self._make_client = make_client
        self._serve = serve
        self._on_lost = on_lost
        self._patient = patient
        self._proven = False
        self._was_connected = False
        self._stopping = asyncio.Event()

    def prove(self) -> None:
        """Note that the connection works: from now on its loss is no reason to give up."""
        self._proven = True

    def stop(self) -> None:
        """Let `run` end with an orderly disconnect."""
        self._stopping.set()

    async def run(self) -> None:
        """Keep a connection until `stop`."""
        settings = self._connector.settings
        loop = asyncio.get_running_loop()
        attempt = 0
        while not self._stopping.is_set():
            begun_at_s = loop.time()
            failure = await self._one_connection()
            if failure is not None and self._is_final(failure):
                raise failure
            if failure is not None:
                self._on_lost(str(failure))
            # A connection that breaks at once, again and again, must not become a busy loop.
            lasted = loop.time() - begun_at_s > settings.reconnect_max_s
            attempt = 0 if lasted else attempt + 1
            await self._pause(settings.backoff_s(attempt))

    async def _one_connection(self) -> BrokerError | None:
        """Connect and serve; None when stopped, else why the connection is no more."""
        failure: BrokerError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                # From before the connection is there: a broker that does not answer must not hold up the end.
                waiting = tasks.create_task(self._raise_when_stopping())
                async with self._make_client() as client:
                    self.connected = True
                    self.reconnects += self._was_connected
                    self._was_connected = True
                    await self._serve(client)
                waiting.cancel()
        except* aiomqtt.MqttError as failures:
            failure = self._connector.explain(first_cause(failures))
        except* BrokerError as refusals:
            failure = BrokerError(str(first_cause(refusals)))
        except* _StopRequestedError:
            pass
        finally:
            self.connected = False
        return failure

    def _is_final(self, failure: BrokerError) -> bool:
        may_come = self._patient and isinstance(failure, BrokerUnreachableError)
        return not (self._proven or may_come)

    async def _raise_when_stopping(self) -> None:
        await self._stopping.wait()
        raise _StopRequestedError

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
