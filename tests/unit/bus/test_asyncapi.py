"""docs/asyncapi.yaml and docs/messages.md say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from octmargin.bus.asyncapi import document
from octmargin.bus.codec import MESSAGES, decode
from octmargin.bus.messages import Message
from octmargin.bus.orders import ORDERS, REPLY_EXPIRY_S, Command, Reply
from octmargin.bus.rights import Role
from octmargin.bus.topics import DELIVERY, Kind, Topics

DOCS = Path(__file__).parents[3] / "docs"
PLACEHOLDERS = Topics("{site}", "{console}")
ADDRESSES = {
    kind: PLACEHOLDERS.of(kind, "{alarm}" if kind is Kind.ALARM else "{face}" if kind.named else "")
    for kind in Kind
}
COMMAND = f"{PLACEHOLDERS.base}/cmd/{{role}}/{{user}}/{{command}}"
REPLY = f"{PLACEHOLDERS.base}/reply/{{role}}/{{user}}"


@pytest.fixture(scope="module")
def asyncapi() -> dict[str, Any]:
    return yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))


def resolve(document: dict[str, Any], reference: dict[str, str]) -> dict[str, Any]:
    node = document
    for part in reference["$ref"].removeprefix("#/").split("/"):
        node = node[part]
    return node


def all_references(node: Any) -> list[dict[str, str]]:
    if isinstance(node, dict):
        here = [node] if "$ref" in node else []
        return here + [found for value in node.values() for found in all_references(value)]
    return [found for value in node for found in all_references(value)] if isinstance(node, list) else []


def test_it_is_asyncapi_3_and_every_reference_leads_somewhere(asyncapi: dict[str, Any]) -> None:
    assert asyncapi["asyncapi"] == "3.0.0"
    references = all_references(asyncapi)
    assert len(references) > 30
    for reference in references:
        assert resolve(asyncapi, reference)


def test_its_channels_are_our_topics(asyncapi: dict[str, Any]) -> None:
    channels = asyncapi["channels"].values()
    assert sorted(channel["address"] for channel in channels) == sorted([*ADDRESSES.values(), COMMAND, REPLY])
    for channel in channels:
        assert set(channel["parameters"]) == set(re.findall(r"{(\w+)}", channel["address"]))


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_published_as_documented(asyncapi: dict[str, Any], kind: Kind) -> None:
    [operation] = [
        operation
        for operation in asyncapi["operations"].values()
        if resolve(asyncapi, operation["channel"])["address"] == ADDRESSES[kind]
    ]
    binding = operation["bindings"]["mqtt"]
    assert (binding["qos"], binding["retain"]) == (DELIVERY[kind].qos, DELIVERY[kind].retain)
    [message] = resolve(asyncapi, operation["channel"])["messages"].values()
    payload = resolve(asyncapi, message)["payload"]
    if kind is Kind.STATE:
        assert payload["enum"] == ["init", "ready", "alert", "disconnected", "lost"]
    else:
        assert payload["$ref"].endswith(f"/{MESSAGES[kind].__name__}")


def test_commands_and_replies_are_documented_as_they_are(asyncapi: dict[str, Any]) -> None:
    parameters = asyncapi["components"]["parameters"]
    assert parameters["role"]["enum"] == [role.value for role in Role if role.commands]
    assert parameters["command"]["enum"] == list(ORDERS)
    [_, narrowed] = asyncapi["components"]["messages"]["command"]["payload"]["allOf"]
    documented = narrowed["properties"]["arguments"]["anyOf"]
    assert [(entry["title"], entry["$ref"].rsplit("/", 1)[1]) for entry in documented] == [
        (name, kind.__name__) for name, kind in ORDERS.items()
    ]
    sending = asyncapi["operations"]["publish_reply"]["bindings"]["mqtt"]
    assert (sending["qos"], sending["retain"], sending["messageExpiryInterval"]) == (1, False, REPLY_EXPIRY_S)


def test_it_is_what_the_code_makes_of_it(asyncapi: dict[str, Any]) -> None:
    assert asyncapi == json.loads(json.dumps(document())), "run scripts/write_contract.py"


@pytest.mark.parametrize("struct", MESSAGES.values())
def test_the_header_is_required_of_every_message(asyncapi: dict[str, Any], struct: type[Message]) -> None:
    required = asyncapi["components"]["schemas"][struct.__name__]["required"]
    assert set(Message.__struct_fields__) <= set(required)
    assert len(required) == len(set(required))


def test_every_topic_and_every_example_of_the_guide_is_real() -> None:
    guide = (DOCS / "messages.md").read_text(encoding="utf-8")
    for kind in Kind:
        assert (
            f"`{ADDRESSES[kind].removeprefix(f'{PLACEHOLDERS.base}/').replace('{', '<').replace('}', '>')}`"
            in guide
        )
    sections = re.findall(r"^### `([$\w]+)(.*?)(?=^##)", guide, re.DOTALL | re.MULTILINE)
    *sections, (of_commands, about_commands) = sections
    assert of_commands == "cmd"
    command, reply = re.findall(r"```json\n(.*?)```", about_commands, re.DOTALL)
    assert msgspec.json.decode(command, type=Command).id == msgspec.json.decode(reply, type=Reply).id
    examples = [
        (kind, example)
        for kind, section in sections
        for example in re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    ]
    assert {kind for kind, _ in examples} == {kind.value for kind in MESSAGES}
    for kind, example in examples:
        decode(Kind(kind), example.encode())
