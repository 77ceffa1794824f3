"""JSON schemas of the messages, as docs/asyncapi.yaml and docs/schemas/ carry them."""

from __future__ import annotations

from typing import Any

import msgspec

from octmargin.bus.codec import MESSAGES
from octmargin.bus.messages import SCHEMA, Message

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_STAMPED = ("schema", "session", "sequence", "published_at", "valid_until")
"""Optional in the code, because the publisher stamps them; always there on the wire."""


def json_schemas(ref_template: str = "#/components/schemas/{name}") -> dict[str, Any]:
    """JSON schema (2020-12) of every struct on the bus by its name; references go by `ref_template`."""
    return _of(MESSAGES.values(), ref_template)


def schema_documents() -> dict[str, dict[str, Any]]:
    """JSON schema (2020-12) of every message but `$state`, a bare word; each whole in itself, by its file's name.

    Fields that are not in it are allowed, since a later publisher may have more; another `schema` is not.
    """
    return {
        kind.value.removeprefix("$") + ".json": _document(kind.value, struct)
        for kind, struct in MESSAGES.items()
    }


def _document(kind: str, struct: type[Message]) -> dict[str, Any]:
    schemas = _of([struct], "#/$defs/{name}")
    root: dict[str, Any] = schemas.pop(struct.__name__)
    head = {"$schema": _DIALECT, "$id": f"urn:octmargin:{SCHEMA}:{kind.removeprefix('$')}"}
    return head | root | ({"$defs": schemas} if schemas else {})


def _of(structs: Any, ref_template: str) -> dict[str, Any]:
    structs = list(structs)
    _, schemas = msgspec.json.schema_components(structs, ref_template=ref_template)
    for struct in structs:
        schema = schemas[struct.__name__]
        for name in _STAMPED:
            schema["properties"][name].pop("default", None)
        schema["properties"]["schema"] = {"const": SCHEMA}
        schema["required"] = [*_STAMPED, *schema["required"]]
    return schemas
