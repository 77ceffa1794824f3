"""The probe of `bench daemon`: bare round trips through a broker that may go away."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

import pytest

from octmargin.bench.daemon import _probing
from octmargin.bus import BrokerSettings, EmbeddedBroker
from octmargin.errors import BrokerError


class Times(list[float]):
    """Round trips, and the news that there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.came = asyncio.Event()

    def append(self, value: float) -> None:
        super().append(value)
        self.came.set()


async def test_round_trips_are_measured_while_something_else_goes_on() -> None:
    times_ms = Times()
    with EmbeddedBroker() as broker:
        async with _probing(BrokerSettings(host=broker.host, port=broker.port), times_ms):
            await asyncio.wait_for(times_ms.came.wait(), 60)
    assert all(time_ms > 0 for time_ms in times_ms)


async def test_a_broker_that_goes_away_ends_the_measurement_with_one_line() -> None:
    broker: AbstractContextManager[EmbeddedBroker] = EmbeddedBroker()
    port = broker.__enter__().port

    async def measure() -> None:
        times_ms, forever = Times(), asyncio.Event()
        async with asyncio.timeout(60), _probing(BrokerSettings(port=port), times_ms):
            await times_ms.came.wait()
            await asyncio.to_thread(broker.__exit__, None, None, None)
            await forever.wait()

    with pytest.raises(BrokerError, match=rf"broker at 127.0.0.1:{port} is gone .*; run it again") as caught:
        await measure()
    assert "\n" not in str(caught.value)
