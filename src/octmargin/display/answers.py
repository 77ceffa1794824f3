"""Answers of the display's server: JSON, and refusals that say what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

NO_STORE = {"cache-control": "no-store"}


def as_json(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Data: never kept by a browser, for it is only true now."""
    body = msgspec.json.encode(content)
    return Response(body, status, {**NO_STORE, **(headers or {})}, "application/json")


def problem(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal, in one line."""
    # What is too long may not have been read to its end.
    closing = {"connection": "close"} if status == 413 else {}
    return as_json({"error": error}, status=status, headers={**closing, **(headers or {})})
