from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.bus.topics import DELIVERY, Address, Kind, Topics
from octmargin.errors import ConfigError

TOPICS = Topics("st-elsewhere", "or-3")
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/+#$"), min_size=1, max_size=64).filter(
    str.isprintable
)


def test_the_tree_of_a_console() -> None:
    base = "octmargin/1/st-elsewhere/or-3"
    assert TOPICS.state == f"{base}/$state"
    assert TOPICS.description == f"{base}/$description"
    assert TOPICS.case == f"{base}/case"
    assert TOPICS.flag == f"{base}/flag"
    assert TOPICS.map("superior") == f"{base}/map/superior"
    assert TOPICS.verdict("shave 2") == f"{base}/verdict/shave 2"
    assert TOPICS.decision("superior") == f"{base}/decision/superior"
    assert TOPICS.health == f"{base}/health"
    assert TOPICS.alarm("laser-off") == f"{base}/alarm/laser-off"
    assert TOPICS.everything == f"{base}/#"


@given(site=NAMES, console=NAMES, name=NAMES, kind=st.sampled_from(Kind))
def test_a_topic_is_parsed_back_to_what_made_it(site: str, console: str, name: str, kind: Kind) -> None:
    topics = Topics(site, console)
    assert topics.parse(topics.of(kind, name)) == Address(kind, name if kind.named else "")


@given(st.text())
def test_any_text_is_parsed_or_is_none_of_ours(text: str) -> None:
    for topic in (text, f"{TOPICS.base}/{text}", f"{TOPICS.base}/verdict/{text}"):
        address = TOPICS.parse(topic)
        assert address is None or TOPICS.of(address.kind, address.name) == topic


@pytest.mark.parametrize(
    "topic",
    [
        "octmargin/1/st-elsewhere/or-4/flag",
        "octmargin/2/st-elsewhere/or-3/flag",
        "octmargin/1/st-elsewhere/or-3",
        "octmargin/1/st-elsewhere/or-3/preview",
        "octmargin/1/st-elsewhere/or-3/flag/superior",
        "octmargin/1/st-elsewhere/or-3/verdict",
        "octmargin/1/st-elsewhere/or-3/verdict/",
        "octmargin/1/st-elsewhere/or-3/verdict/a/b",
    ],
)
def test_a_topic_of_someone_else_or_of_the_future_means_nothing(topic: str) -> None:
    assert TOPICS.parse(topic) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("a/b", "'/'"),
        ("a+", "'+'"),
        ("#", "'#'"),
        ("$sys", "'$'"),
        ("a\x00", "unprintable"),
        ("a\nb", "unprintable"),
        ("\ud800", "unprintable"),
        ("x" * 65, "65 characters"),
    ],
)
def test_a_name_that_mqtt_cannot_carry_is_refused_in_one_line(name: str, why: str) -> None:
    for make in (
        lambda: Topics(name, "or-3"),
        lambda: Topics("st-elsewhere", name),
        lambda: TOPICS.verdict(name),
        lambda: TOPICS.alarm(name),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert why in str(caught.value)
        assert "use letters, digits" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_flags_and_health_are_never_retained_and_results_always_expire() -> None:
    assert {kind for kind, delivery in DELIVERY.items() if not delivery.retain} == {Kind.FLAG, Kind.HEALTH}
    assert all(DELIVERY[kind].expires for kind in (Kind.FLAG, Kind.MAP, Kind.VERDICT, Kind.ALARM))
    assert set(DELIVERY) == set(Kind)
