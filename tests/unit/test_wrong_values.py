"""What is wrong with a value is said with its place, the value, and what would do; never in the words of a library."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from octmargin.wrong_values import explain

PATTERN = "^[a-z]+$"


class Lamp(msgspec.Struct, forbid_unknown_fields=True):
    colour: Literal["red", "green"]
    watts: Annotated[float, msgspec.Meta(gt=0, lt=100)] = 1.0


class Room(msgspec.Struct, forbid_unknown_fields=True):
    lamp: Lamp | None = None
    lamps: Annotated[list[Lamp], msgspec.Meta(min_length=1, max_length=2)] | None = None
    name: Annotated[str, msgspec.Meta(pattern=PATTERN)] = "or"
    label: Annotated[str, msgspec.Meta(max_length=4)] = ""
    places: tuple[int, ...] = ()
    ink: dict[Annotated[str, msgspec.Meta(pattern=PATTERN)], Annotated[str, msgspec.Meta(min_length=1)]] = {}
    dark: bool = False


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lamp": {"colour": "blue"}}, 'key "lamp.colour" is "blue"; give one of green, red'),
        (
            {"lamps": [{"colour": "red"}, {"colour": 7}]},
            'key "lamps[1].colour" is 7; give one of green, red',
        ),
        (
            {"lamp": {"colour": "red", "watts": "much"}},
            'key "lamp.watts" is "much"; give a number above 0 and below 100',
        ),
        ({"lamp": 3}, 'key "lamp" is 3; give a table'),
        (
            {"lamps": []},
            'key "lamps" is an empty list; give a list of at least 1 entry and at most 2 entries',
        ),
        ({"lamps": "red"}, 'key "lamps" is "red"; give a list of at least 1 entry and at most 2 entries'),
        ({"label": "bright"}, 'key "label" is "bright"; give text of at most 4 characters'),
        ({"label": "x" * 99}, f'key "label" is "{"x" * 59}…"; give text of at most 4 characters'),
        ({"label": {"a": 1}}, 'key "label" is a table; give text of at most 4 characters'),
        ({"places": [1, "two"]}, 'key "places[1]" is "two"; give a whole number'),
        ({"dark": "yes"}, 'key "dark" is "yes"; give true or false'),
        ({"dark": [1]}, 'key "dark" is a list; give true or false'),
        ({"name": "OR 3"}, 'key "name" takes small letters; correct the value'),
        ({"ink": {"A": "red"}}, 'a key of "ink" takes small letters; correct it'),
        ({"lamp": {}}, 'key "lamp.colour" is missing; add it'),
        ({"lamp": {"colours": "red"}}, 'unknown key "lamp.colours"; did you mean "colour"?'),
        ({"zzz": 1}, 'unknown key "zzz"; known here: dark, ink, label, lamp, lamps, name, places'),
    ],
)
def test_place_value_and_what_would_do(given: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(given, Room)
    assert explain(str(caught.value), Room, given=given, in_words={PATTERN: "small letters"}) == said


def test_where_nothing_may_be_repeated_no_value_is_shown() -> None:
    for given in ({"lamp": {"colour": "Jane Doe"}}, {"label": "Jane Doe"}, {"dark": "Jane Doe"}):
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.convert(given, Room)
        said = explain(str(caught.value), Room, noun="argument")
        assert said.startswith('argument "')
        assert " takes " in said
        assert "Jane" not in said


def test_what_is_not_the_librarys_word_stays_as_it_is() -> None:
    assert explain("a mark ends before it begins", Room) == "a mark ends before it begins"
