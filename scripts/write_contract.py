"""Write the schemas of the messages into docs/asyncapi.yaml, below its marker line, and into docs/schemas/."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from octmargin.bus.schema import json_schemas, schema_documents

DOCS = Path(__file__).parents[1] / "docs"
MARKER = "  # Written by scripts/write_contract.py from octmargin.bus.messages; do not edit below.\n"


def main() -> None:
    write_asyncapi(DOCS / "asyncapi.yaml")
    write_schemas(DOCS / "schemas")


def write_asyncapi(path: Path) -> None:
    head, marker, _ = path.read_text(encoding="utf-8").partition(MARKER)
    if not marker:
        raise SystemExit(f"{path} has lost its marker line; put back {MARKER.strip()!r}")
    body = yaml.safe_dump({"schemas": json_schemas()}, sort_keys=False, allow_unicode=True, width=110)
    indented = "".join(f"  {line}\n" for line in body.splitlines())
    path.write_text(head + marker + indented, encoding="utf-8")


def write_schemas(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    documents = schema_documents()
    for file in folder.glob("*.json"):
        if file.name not in documents:
            file.unlink()
    for name, document in documents.items():
        (folder / name).write_text(
            json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
