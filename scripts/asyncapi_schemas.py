"""Write the schemas of the messages into docs/asyncapi.yaml, below its marker line."""

from __future__ import annotations

from pathlib import Path

import yaml

from octmargin.bus.schema import json_schemas

MARKER = "  # Written by scripts/asyncapi_schemas.py from octmargin.bus.messages; do not edit below.\n"


def main() -> None:
    path = Path(__file__).parents[1] / "docs" / "asyncapi.yaml"
    head, marker, _ = path.read_text(encoding="utf-8").partition(MARKER)
    if not marker:
        raise SystemExit(f"{path} has lost its marker line; put back {MARKER.strip()!r}")
    body = yaml.safe_dump({"schemas": json_schemas()}, sort_keys=False, allow_unicode=True, width=110)
    indented = "".join(f"  {line}\n" for line in body.splitlines())
    path.write_text(head + marker + indented, encoding="utf-8")


if __name__ == "__main__":
    main()
