"""Users and rights for EMQX, judged by its rules: what it documents, and how its sources match filters.

Nothing here runs EMQX. `may` follows `emqx_authz_rule` and `emqx_topic:match` of EMQX 5.
"""

from __future__ import annotations

import csv
import re
import stat
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octmargin.bus.rights import Role
from octmargin.cli import run_command_line
from octmargin.errors import InputError
from octmargin.site.emqx import access_list
from octmargin.site.export import export_for_emqx
from octmargin.site.settings import Auth

from .conftest import USERS, again, prepared
from .test_rights import MATRIX, NEVER, ROWS, TOPICS
from .test_ways_around import ASKED

WHO = r"(\{'or', \[.*?\]\}|\{username, \"[^\"]*\"\})"
ACTION = r"(all|subscribe|\{publish, \[\{retain, false\}\]\})"
RULE = re.compile(rf"\{{(allow|deny), {WHO}, {ACTION}, \[(.*)\]\}}\.")
TEXT = access_list(USERS.values())


def rules() -> list[tuple[str, set[str], str, list[tuple[bool, str]]]]:
    """(permission, user names, action, [(exactly, topic)]) of each rule but the last."""
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("%%")]
    assert lines[-1] == "{deny, all}."
    found = []
    for line in lines[:-1]:
        match = RULE.fullmatch(line)
        assert match is not None, line
        patterns = re.findall(r'(\{eq, )?"([^"]*)"', match[4])
        found.append(
            (
                match[1],
                set(re.findall(r'"([^"]*)"', match[2])),
                match[3],
                [(bool(eq), topic) for eq, topic in patterns],
            )
        )
    return found


RULES = rules()


def matches(name: list[str], pattern: list[str]) -> bool:
    """`emqx_topic:match`: of a filter too, whose `#` a `+` of the pattern takes like any word."""
    match name, pattern:
        case [], []:
            return True
        case _, ["#"]:
            return True
        case [word, *rest], [first, *others] if first in (word, "+"):
            return matches(rest, others)
    return False


def may(username: str, action: str, topic: str, *, retain: bool = False) -> bool:
    topic = re.sub(r"^\$share/[^/]+/", "", topic)
    for permission, users, acts, patterns in RULES:
        if username not in users:
            continue
        if acts == "{publish, [{retain, false}]}":
            if action != "publish" or retain:
                continue
        elif acts not in ("all", action):
            continue
        if any(
            topic == pattern if exactly else matches(topic.split("/"), pattern.split("/"))
            for exactly, pattern in patterns
        ):
            return permission == "allow"
    return False


def covers(asked: str, topic: str) -> bool:
    """Whether a subscription brings a topic, as MQTT says."""
    return matches(topic.split("/"), re.sub(r"^\$share/[^/]+/", "", asked).split("/"))


@pytest.mark.parametrize(("topic", "rights"), ROWS)
def test_each_user_may_write_and_read_this_and_no_more(topic: str, rights: dict[str, str]) -> None:
    found = {
        who: "r" * may(user.username, "subscribe", f"octmargin/1/{topic}")
        + "w" * may(user.username, "publish", f"octmargin/1/{topic}")
        or "-"
        for who, user in USERS.items()
    }
    assert found == rights


@pytest.mark.parametrize("topic", NEVER)
def test_topics_outside_the_sites_are_nobodys(topic: str) -> None:
    assert not [who for who, user in USERS.items() if may(user.username, "publish", topic)]


def test_a_command_is_never_retained_and_a_result_may_be() -> None:
    assert not may(
        "north.operator.anna", "publish", "octmargin/1/north/or-1/cmd/operator/anna/stop", retain=True
    )
    assert may("north.console.or-1", "publish", "octmargin/1/north/or-1/verdict/superior", retain=True)


@pytest.mark.parametrize("below", ["or-1/+", "or-1/+/+", "+/flag"])
@pytest.mark.parametrize("who", ["anna", "rita", "wall"])
def test_what_displays_ask_for_is_allowed(who: str, below: str) -> None:
    assert may(USERS[who].username, "subscribe", f"octmargin/1/north/{below}")


def readable(who: str) -> set[str]:
    header, *lines = (line.split() for line in MATRIX.strip().splitlines())
    return {topic for topic, *rights in lines if "r" in rights[header.index(who) - 1]}


def brings(asked: str) -> set[str]:
    return {topic for topic in TOPICS if covers(asked, f"octmargin/1/{topic}")}


WORDS = ["octmargin", "1", "north", "south", "or-1", "or-3", "+", "#", "cmd", "reply", "operator", "reader", "anna",
         "otto", "rita", "flag", "map", "superior", "stop", "decide", "$state", "elsewhere"]  # fmt: skip


def assert_brings_no_more_than_may_be_read(asked: str) -> None:
    for who, user in USERS.items():
        if may(user.username, "subscribe", asked):
            assert brings(asked) <= readable(who), f"{user.username} gets more by {asked}"


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), st.sampled_from(["", "$share/all/"]))
@settings(max_examples=2000)
def test_no_filter_that_is_allowed_brings_more_than_its_user_may_read(words: list[str], shared: str) -> None:
    if "#" not in words[:-1]:
        assert_brings_no_more_than_may_be_read(shared + "/".join(words))


def test_nor_does_any_filter_below_a_site() -> None:
    """All there are of up to four levels, and the ways that were tried on mosquitto."""
    below = ["or-1", "or-3", "+", "elsewhere"]
    inner = ["cmd", "reply", "+", "flag", "map"]
    last = ["operator", "+", "anna", "superior", "#"]
    filters = [f"octmargin/1/{site}/#" for site in ("north", "south", "+")]
    for site, console in product(("north", "south", "+"), below):
        place = f"octmargin/1/{site}/{console}"
        filters += [place, f"{place}/#", *(f"{place}/{part}" for part in inner)]
        filters += [f"{place}/{part}/#" for part in inner]
        filters += [f"{place}/{part}/{end}" for part, end in product(inner, last)]
        filters += [f"{place}/{part}/{one}/{two}" for part, one, two in product(inner, last[:-1], last)]
    for asked in (*filters, *ASKED):
        assert_brings_no_more_than_may_be_read(asked)


def test_without_the_rule_that_denies_wide_filters_commands_would_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What that rule is there for."""
    monkeypatch.setattr(f"{__name__}.RULES", [rule for rule in RULES if rule[0] == "allow"])
    assert may("north.viewer.wall", "subscribe", "octmargin/1/north/or-1/#")


def test_the_command_writes_it_for_the_users_of_the_folder_and_again_for_new_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = prepared(tmp_path / "broker")
    monkeypatch.setattr(sys, "argv", ["octmargin", "broker", "emqx", str(broker.folder)])
    with pytest.raises(SystemExit, match="0"):
        run_command_line()
    folder = broker.folder / "emqx"
    assert (folder / "octmargin-acl.conf").read_text() == TEXT
    with (folder / "octmargin-users.csv").open(newline="") as file:
        logins = {row["user_id"]: row["password"] for row in csv.DictReader(file)}
    assert set(logins) == {user.username for user in USERS.values()}
    assert (
        logins["north.viewer.wall"] == (broker.client_folder(USERS["wall"]) / "password").read_text().strip()
    )
    for name in ("octmargin-acl.conf", "octmargin-users.csv"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert not set(logins.values()) & set(capsys.readouterr().out.split())
    again(broker, names={Role.VIEWER: ("new",)})
    export_for_emqx(broker.folder)
    assert "north.viewer.new" in (folder / "octmargin-users.csv").read_text()
    assert "north.viewer.new" in (folder / "octmargin-acl.conf").read_text()


def test_a_password_that_is_not_there_any_more_is_named(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker")
    (broker.client_folder(USERS["wall"]) / "password").unlink()
    assert (
        export_for_emqx(broker.folder)[-1]
        == "note: no password here for north.viewer.wall: enter them by hand"
    )


@pytest.mark.parametrize("auth", list(Auth))
def test_the_configuration_says_how_users_prove_themselves(tmp_path: Path, auth: Auth) -> None:
    broker = prepared(tmp_path / "broker", auth)
    export_for_emqx(broker.folder)
    text = (broker.folder / "emqx" / "base.hocon").read_text()
    assert text.count("{") == text.count("}")
    assert f'bind = "0.0.0.0:{broker.port}"' in text
    assert ("peer_cert_as_username = cn" in text) == (auth is Auth.CERTIFICATES)
    assert ("verify = verify_peer" in text) == (auth is Auth.CERTIFICATES)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no broker\.toml; make the folder with"):
        export_for_emqx(tmp_path)
