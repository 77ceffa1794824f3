"""JSON schemas of the messages, as docs/asyncapi.yaml and docs/schemas/ carry them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from octmargin.bus.codec import MESSAGES
from octmargin.bus.messages import SCHEMA, Message
from octmargin.bus.orders import ORDERS, Command, Reply

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_STAMPED = ("schema", "session", "sequence", "published_at", "valid_until")
"""Optional in the code, because the publisher stamps them; always there on the wire."""


def json_schemas() -> dict[str, Any]:
    """JSON schema (2020-12) of every struct on the bus by its name, for `#/components/schemas/`."""
    said = (*MESSAGES.values(), Command, Reply, *ORDERS.values())
    return _of(said, "#/components/schemas/{name}")


def schema_documents() -> dict[str, dict[str, Any]]:
    """JSON schema (2020-12) of everything that is said but `$state`, a bare word; each whole in itself, by file name.

    Fields that are not in it are allowed, since a later publisher may have more; another `schema` is not. Arguments of
    commands are the exception: one that the daemon does not know, it refuses.
    """
    messages = {kind.value.removeprefix("$"): _document(struct) for kind, struct in MESSAGES.items()}
    commands = {f"cmd-{name}": _command(order) for name, order in ORDERS.items()}
    return {
        f"{name}.json": {"$schema": _DIALECT, "$id": f"urn:octmargin:{SCHEMA}:{name}"} | document
        for name, document in (messages | commands | {"reply": _document(Reply)}).items()
    }


def _document(struct: type[msgspec.Struct]) -> dict[str, Any]:
    schemas = _of([struct], "#/$defs/{name}")
    root: dict[str, Any] = schemas.pop(struct.__name__)
    return root | ({"$defs": schemas} if schemas else {})


def _command(order: type[msgspec.Struct]) -> dict[str, Any]:
    schemas = _of([Command, order], "#/$defs/{name}")
    root: dict[str, Any] = schemas.pop(Command.__name__)
    root["properties"]["arguments"] = {"$ref": f"#/$defs/{order.__name__}"}
    if schemas[order.__name__]["required"]:
        root["required"].append("arguments")
    return root | {"$defs": schemas}


def _of(structs: Iterable[type[msgspec.Struct]], ref_template: str) -> dict[str, Any]:
    structs = list(structs)
    _, schemas = msgspec.json.schema_components(structs, ref_template=ref_template)
    for struct in structs:
        schema = schemas[struct.__name__]
        if "schema" in schema["properties"]:
            schema["properties"]["schema"] = {"const": SCHEMA}
        if issubclass(struct, Message):
            for name in _STAMPED:
                schema["properties"][name].pop("default", None)
            schema["required"] = [*_STAMPED, *schema["required"]]
        elif struct is Reply:
            schema["required"] = ["schema", *schema["required"]]
    return schemas
