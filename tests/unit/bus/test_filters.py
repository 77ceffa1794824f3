"""A broker that judges a subscription by its filter: mosquitto with its plugin for dynamic security."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.bus.conftest import running_mosquitto
from tests.unit.bus.examples import flag

from octmargin.bus import BrokerSettings, Publisher, Subscriber, Topics, utc_now
from octmargin.bus.events import Connected, FlagReceived, StateChanged
from octmargin.errors import BrokerError

PLUGIN = "mosquitto_dynamic_security.so"


@contextmanager
def allowing(folder: Path, filters: tuple[str, ...]) -> Iterator[BrokerSettings]:
    """Everybody may write, and subscribe by these filters alone."""
    plugin = next(Path("/usr/lib").glob(f"*/{PLUGIN}"), None)
    if plugin is None:
        pytest.skip(f"{PLUGIN} is not there; it comes with Debian's mosquitto")
    rights = [{"acltype": "subscribeLiteral", "topic": each, "allow": True} for each in filters]
    rules = folder / "security.json"
    rules.write_text(
        json.dumps(
            {
                "defaultACLAccess": {
                    "publishClientSend": True,
                    "publishClientReceive": True,
                    "subscribe": False,
                    "unsubscribe": True,
                },
                "roles": [{"rolename": "all", "acls": rights}],
                "groups": [{"groupname": "all", "roles": [{"rolename": "all"}]}],
                "anonymousGroup": "all",
                "clients": [],
            }
        )
    )
    extra = f"allow_anonymous true\nplugin {plugin}\nplugin_opt_config_file {rules}"
    with running_mosquitto(folder, extra) as broker:
        yield broker.settings


async def test_a_display_that_may_not_ask_for_commands_sees_all_that_is_shown(
    tmp_path: Path, topics: Topics
) -> None:
    of_the_console = (
        topics.state,
        f"{topics.base}/map/+",
        f"{topics.base}/verdict/+",
        f"{topics.base}/alarm/+",
    )
    with allowing(tmp_path, (*topics.shown, *of_the_console, f"{topics.base}/decision/+")) as settings:
        async with Subscriber(settings, topics) as events, Publisher(settings, topics) as publisher:
            publisher.publish_flag(flag(7, acquired_at=utc_now()))
            assert isinstance(await anext(events), Connected)
            assert isinstance(await anext(events), StateChanged)
            assert isinstance(await anext(events), FlagReceived)


async def test_a_display_that_may_read_nothing_is_told_so(tmp_path: Path, topics: Topics) -> None:
    with allowing(tmp_path, ()) as settings, pytest.raises(BrokerError) as caught:
        async with Subscriber(settings, topics):
            pass
    assert f"refuses to let us read {topics.base}/+ and {topics.base}/+/+ (Not authorized)" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
