"""What is said on the bus, as an AsyncAPI 3 document: made from topics, deliveries, message types and commands."""

from __future__ import annotations

import re
from typing import Any, get_args

from octmargin.bus.codec import MESSAGES
from octmargin.bus.messages import SCHEMA, State
from octmargin.bus.orders import ORDERS, REPLY_EXPIRY_S, Command, Reply
from octmargin.bus.rights import Role
from octmargin.bus.schema import json_schemas
from octmargin.bus.topics import DELIVERY, Kind, Topics

_PLACES = Topics("{site}", "{console}")
_BINDING_VERSION = "0.2.0"
_LEVEL = "One topic level of at most 64 characters, none of them / + # $."
_FACE = f"superior, inferior, medial, lateral, anterior, posterior, or the name of a shave or node. {_LEVEL}"
_STATE = "Life of the daemon, a bare word: `lost` is the last will."
_COMMAND = "What somebody asks for; the broker lets a user write under its own role and name alone. docs/commands.md."
_INFO = (
    "Margin flags from an optical coherence tomography console over MQTT. Research use only, not a medical device. "
    "docs/messages.md says how a subscriber must read them. No message carries a patient's identity."
)


def document() -> dict[str, Any]:
    """The document, to be written as YAML or JSON."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "octmargin", "version": str(SCHEMA), "description": _INFO},
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "127.0.0.1:1883",
                "protocol": "mqtt",
                "protocolVersion": "5",
                "description": "The broker of the site, or the one that octmargin embeds.",
            }
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "parameters": _parameters(),
            "messages": _messages(),
            "schemas": json_schemas(),
        },
    }


def _name(kind: Kind) -> str:
    return kind.value.removeprefix("$")


def _channels() -> dict[str, Any]:
    channels = {_name(kind): _channel(_name(kind), _address(kind), _said_of(kind)) for kind in Kind}
    return channels | {
        "command": _channel("command", f"{_PLACES.base}/cmd/{{role}}/{{user}}/{{command}}", _COMMAND),
        "reply": _channel("reply", f"{_PLACES.base}/reply/{{role}}/{{user}}", _summary(Reply)),
    }


def _address(kind: Kind) -> str:
    return _PLACES.of(kind, "{alarm}" if kind is Kind.ALARM else "{face}" if kind.named else "")


def _said_of(kind: Kind) -> str:
    return _STATE if kind is Kind.STATE else _summary(MESSAGES[kind])


def _summary(struct: type) -> str:
    return (struct.__doc__ or "").partition("\n")[0]


def _channel(name: str, address: str, description: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "parameters": {
            level: {"$ref": f"#/components/parameters/{level}"} for level in re.findall(r"{(\w+)}", address)
        },
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }


def _operations() -> dict[str, Any]:
    published = {
        f"publish_{_name(kind)}": _operation(
            "send", _name(kind), {"qos": DELIVERY[kind].qos, "retain": DELIVERY[kind].retain}
        )
        for kind in Kind
    }
    taken = _operation("receive", "command", {"qos": 1, "retain": False})
    reply = {"qos": 1, "retain": False, "messageExpiryInterval": REPLY_EXPIRY_S}
    return published | {
        "take_command": taken | {"reply": {"channel": {"$ref": "#/channels/reply"}}},
        "publish_reply": _operation("send", "reply", reply),
    }


def _operation(action: str, channel: str, binding: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "bindings": {"mqtt": binding | {"bindingVersion": _BINDING_VERSION}},
    }


def _parameters() -> dict[str, Any]:
    return {
        "site": {"description": f"The hospital or laboratory. {_LEVEL}"},
        "console": {"description": f"The console. {_LEVEL}"},
        "face": {"description": _FACE},
        "alarm": {"description": f"Identifier of the fault. {_LEVEL}"},
        "role": {
            "enum": [role.value for role in Role if role.commands],
            "description": "Of the user, as the broker knows it.",
        },
        "user": {"description": f"Name of the user, as the broker knows it. {_LEVEL}"},
        "command": {"enum": list(ORDERS)},
    }


def _messages() -> dict[str, Any]:
    state = {"contentType": "text/plain", "payload": {"type": "string", "enum": list(get_args(State))}}
    said = {_name(kind): {"payload": _schema(struct)} for kind, struct in MESSAGES.items()}
    correlation = {"correlationId": {"location": "$message.payload#/id"}}
    arguments = {"anyOf": [{"title": name} | _schema(order) for name, order in ORDERS.items()]}
    command = {
        "description": "`arguments` are those of the command in the topic.",
        "payload": {"allOf": [_schema(Command), {"type": "object", "properties": {"arguments": arguments}}]},
    }
    return (
        {"state": state}
        | said
        | {
            "command": command | correlation,
            "reply": {"payload": _schema(Reply)} | correlation,
        }
    )


def _schema(struct: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}
