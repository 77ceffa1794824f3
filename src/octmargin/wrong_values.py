"""What is wrong with a value that somebody gave, in words: where it stands, what it is, and what would do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect

_AT = r"(?: - at (?P<of_key>`key` in )?`\$\.?(?P<at>[^`]*)`)?"
_UNKNOWN = re.compile(rf"^Object contains unknown field `(?P<key>[^`]*)`{_AT}")
_MISSING = re.compile(rf"^Object missing required field `(?P<key>[^`]*)`{_AT}")
_WRONG = re.compile(rf"^(?P<what>(?:Expected|Invalid) .*?){_AT}$")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MOST_SHOWN = 60
"""Characters of a value that is shown."""


def explain(
    message: str,
    kind: type,
    *,
    given: object = None,
    in_words: Mapping[str, str] | None = None,
    noun: str = "key",
) -> str:
    """Msgspec's message on what was to become a `kind`, in our words, with a remedy.

    `given` is what was read, of which the value is shown; without it none is, for where nothing may be repeated.
    `in_words` says what a pattern lets pass. What is none of msgspec's own messages stays as it is.
    """
    if found := _UNKNOWN.match(message):
        return unknown_key(found["at"] or "", found["key"], kind, noun=noun)
    if found := _MISSING.match(message):
        return f'{noun} "{_dotted(found["at"] or "", found["key"])}" is missing; add it'
    found = _WRONG.match(message)
    if found is None or not found["at"]:
        return message
    wanted = _type_at(found["at"], kind)
    if found["of_key"]:
        wanted = wanted.key_type if isinstance(wanted, inspect.DictType) else None
        return f'a key of "{found["at"]}" takes {_words(wanted, in_words or {}) or found["what"]}; correct it'
    return f'{noun} "{found["at"]}"{_in_place(found, wanted, given, in_words or {})}'


def _in_place(
    found: re.Match[str], wanted: inspect.Type | None, given: object, in_words: Mapping[str, str]
) -> str:
    words = _words(wanted, in_words)
    if not words:
        return f": {found['what'][0].lower()}{found['what'][1:]}; correct the value"
    if given is None or _pattern(wanted):
        return f" takes {words}; correct the value"
    return f" is {_shown(_value_at(found['at'], given))}; give {words}"


def unknown_key(section: str, key: str, kind: type, *, noun: str = "key") -> str:
    """A key that the table at `section` of a file of this kind does not know, with what may have been meant."""
    known = keys_of(section, kind)
    near = difflib.get_close_matches(key, known, 1)
    here = f"known here: {', '.join(sorted(known))}" if known else "there is none here"
    remedy = f'did you mean "{near[0]}"?' if near else here
    return f'unknown {noun} "{_dotted(section, key)}"; {remedy}'


def keys_of(section: str, kind: type) -> list[str]:
    """The keys that the table at `section` knows."""
    return [field.encode_name for field in _fields(_type_at(section, kind))]


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _steps(at: str) -> list[str]:
    """Of a path such as `scan.faces[0]`: names, and places in lists."""
    return [name or place for name, place in _STEP.findall(at)]


def _type_at(at: str, kind: type) -> inspect.Type | None:
    found: inspect.Type | None = inspect.type_info(kind)
    for step in _steps(at):
        found = _below(found, step)
    return found


def _below(of: inspect.Type | None, step: str) -> inspect.Type | None:
    if isinstance(of, inspect.DictType):
        return _itself(of.value_type)
    if isinstance(of, inspect.ListType | inspect.VarTupleType):
        return _itself(of.item_type)
    return next((_itself(field.type) for field in _fields(of) if field.encode_name == step), None)


def _fields(of: inspect.Type | None) -> tuple[inspect.Field, ...]:
    return of.fields if isinstance(of, inspect.StructType | inspect.DataclassType) else ()


def _itself(of: inspect.Type) -> inspect.Type:
    """The type of what may be left out, without the comments on it."""
    if isinstance(of, inspect.Metadata):
        return _itself(of.type)
    if isinstance(of, inspect.UnionType):
        members = [member for member in of.types if not isinstance(member, inspect.NoneType)]
        return _itself(members[0]) if len(members) == 1 else of
    return of


def _words(of: inspect.Type | None, in_words: Mapping[str, str]) -> str:
    """What such a value is; empty where there are no words for it."""
    words = ""
    match of:
        case inspect.LiteralType():
            words = f"one of {', '.join(str(value) for value in of.values)}"
        case inspect.EnumType():
            words = f"one of {', '.join(str(member.value) for member in of.cls)}"
        case inspect.BoolType():
            words = "true or false"
        case inspect.IntType():
            words = f"a whole number{_bounds(of)}"
        case inspect.FloatType():
            words = f"a number{_bounds(of)}"
        case inspect.StrType(pattern=str(pattern)):
            words = in_words.get(pattern, "")
        case inspect.StrType():
            words = f"text{_length(of, 'character')}"
        case inspect.ListType() | inspect.VarTupleType():
            words = f"a list{_length(of, 'entry', 'entries')}"
        case inspect.StructType() | inspect.DataclassType() | inspect.DictType():
            words = "a table"
        case inspect.DateTimeType():
            words = "an instant such as 2026-01-31T12:00:00Z"
    return words


def _pattern(of: inspect.Type | None) -> str:
    return (of.pattern or "") if isinstance(of, inspect.StrType) else ""


def _bounds(of: inspect.IntType | inspect.FloatType) -> str:
    if of.ge is not None and of.le is not None:
        return f" from {of.ge:.10g} to {of.le:.10g}"
    limits = {"of at least": of.ge, "above": of.gt, "up to": of.le, "below": of.lt}
    said = " and ".join(f"{word} {limit:.10g}" for word, limit in limits.items() if limit is not None)
    return f" {said}" if said else ""


def _length(of: inspect.StrType | inspect.ListType | inspect.VarTupleType, one: str, many: str = "") -> str:
    limits = {"at least": of.min_length, "at most": of.max_length}
    said = [
        f"{word} {limit} {one if limit == 1 else many or f'{one}s'}"
        for word, limit in limits.items()
        if limit
    ]
    return f" of {' and '.join(said)}" if said else ""


def _value_at(at: str, given: object) -> object:
    for step in _steps(at):
        if isinstance(given, Mapping):
            given = given.get(step)
        elif isinstance(given, Sequence) and not isinstance(given, str) and step.isdigit():
            given = given[int(step)]
        else:
            return None
    return given


def _shown(value: Any) -> str:
    """As it was written, cut where it is long; what is too large to be shown, by its kind."""
    match value:
        case None:
            return "none of what it takes"
        case str():
            shown = " ".join(value.split())
            return f'"{shown if len(shown) <= _MOST_SHOWN else f"{shown[: _MOST_SHOWN - 1]}…"}"'
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list" if value else "an empty list"
    return msgspec.json.encode(value).decode()
