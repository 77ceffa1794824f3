"""Write what machines read of the messages: docs/asyncapi.yaml, and the JSON Schemas of docs/schemas/."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from octmargin.bus.asyncapi import document
from octmargin.bus.schema import schema_documents

DOCS = Path(__file__).parents[1] / "docs"
HEAD = "# Written by scripts/write_contract.py from octmargin.bus; do not edit.\n"


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - its base's
        """What is the same twice is written twice: not every reader knows YAML's anchors."""
        return True


def main() -> None:
    write_asyncapi(DOCS / "asyncapi.yaml")
    write_schemas(DOCS / "schemas")


def write_asyncapi(path: Path) -> None:
    body = yaml.dump(document(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    path.write_text(HEAD + body, encoding="utf-8")


def write_schemas(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    documents = schema_documents()
    for file in folder.glob("*.json"):
        if file.name not in documents:
            file.unlink()
    for name, content in documents.items():
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
