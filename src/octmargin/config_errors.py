"""What is wrong with a configuration file, in words: the key, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import msgspec

_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>[^`]*)`(?: - at `\$\.?(?P<at>[^`]*)`)?")
_MISSING = re.compile(r"^Object missing required field `(?P<key>[^`]*)`(?: - at `\$\.?(?P<at>[^`]*)`)?")
_NO_MATCH = re.compile(r"^Expected `str` matching regex '(?P<pattern>.*)' - at `\$\.?(?P<at>[^`]*)`")
_NO_CHOICE = re.compile(r"^Invalid enum value '(?P<value>.*)' - at `\$\.?(?P<at>[^`]*)`")
_WRONG = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<at>[^`]*)`")

_OF_A_LIST = "[...]"
"""So msgspec writes that any of a list is meant."""


def explain(message: str, kind: type, in_words: Mapping[str, str]) -> str:
    """Msgspec's message in our words, with a remedy; `in_words` says what a pattern lets pass."""
    if found := _UNKNOWN.match(message):
        return unknown_key(found["at"] or "", found["key"], kind)
    if found := _MISSING.match(message):
        return f'key "{_dotted(found["at"] or "", found["key"])}" is missing; add it'
    if found := _NO_MATCH.match(message):
        return f'key "{found["at"]}" takes {in_words[found["pattern"]]}; correct the value'
    if found := _NO_CHOICE.match(message):
        return (
            f'key "{found["at"]}" is "{found["value"]}"; use one of {", ".join(_choices(found["at"], kind))}'
        )
    # What may be left out may be null to msgspec; TOML has no null.
    if found := _WRONG.match(message.replace(" | null`", "`")):
        return f'key "{found["at"]}": {found["what"][0].lower()}{found["what"][1:]}; correct the value'
    return message


def unknown_key(section: str, key: str, kind: type) -> str:
    """A key that the table at `section` of a file of this kind does not know, with what may have been meant."""
    known = keys_of(section, kind)
    near = difflib.get_close_matches(key, known, 1)
    remedy = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(sorted(known))}"
    return f'unknown key "{_dotted(section, key)}"; {remedy}'


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _choices(key: str, file: type) -> list[str]:
    """The words that the key takes."""
    section, _, name = key.rpartition(".")
    kind = next(_table(field.type) for field in _fields(_kind_of(section, file)) if field.encode_name == name)
    return [str(value) for value in kind.values] if isinstance(kind, msgspec.inspect.LiteralType) else []


def keys_of(section: str, file: type) -> list[str]:
    """The keys that the table at `section` knows."""
    return [field.encode_name for field in _fields(_kind_of(section, file))]


def _kind_of(section: str, file: type) -> msgspec.inspect.Type:
    kind: msgspec.inspect.Type = msgspec.inspect.type_info(file)
    for part in filter(None, section.split(".")):
        name = part.removesuffix(_OF_A_LIST)
        kind = next((_table(field.type) for field in _fields(kind) if field.encode_name == name), kind)
        if name != part and isinstance(kind, msgspec.inspect.VarTupleType):
            kind = kind.item_type
    return kind


def _fields(kind: msgspec.inspect.Type) -> tuple[msgspec.inspect.Field, ...]:
    if isinstance(kind, msgspec.inspect.StructType | msgspec.inspect.DataclassType):
        return kind.fields
    return ()


def _table(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The table itself where a key takes a table or nothing."""
    if isinstance(kind, msgspec.inspect.UnionType):
        return next(member for member in kind.types if not isinstance(member, msgspec.inspect.NoneType))
    return kind
