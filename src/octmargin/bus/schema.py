"""JSON schemas of the messages, as docs/asyncapi.yaml carries them."""

from __future__ import annotations

from typing import Any

import msgspec

from octmargin.bus.codec import MESSAGES
from octmargin.bus.orders import ORDERS, Command, Reply

_STAMPED = ("schema", "session", "sequence", "published_at", "valid_until")
"""Optional in the code, because the publisher stamps them; always there on the wire."""


def json_schemas() -> dict[str, Any]:
    """JSON schema (2020-12) of every struct on the bus by its name, for `#/components/schemas/`."""
    said = (*MESSAGES.values(), Command, Reply, *ORDERS.values())
    _, schemas = msgspec.json.schema_components(said, ref_template="#/components/schemas/{name}")
    for struct in MESSAGES.values():
        schema = schemas[struct.__name__]
        for name in _STAMPED:
            schema["properties"][name].pop("default", None)
        schema["required"] = [*_STAMPED, *schema["required"]]
    return schemas
