"""What stands before every request: whose page it comes from, and what a browser may do with the answer."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from octmargin.display.answers import problem
from octmargin.display.settings import is_loopback

_READING = ("GET", "HEAD")


def security_headers(broker_websocket: str) -> dict[str, str]:
    """Headers of every answer; `broker_websocket` is the one foreign address that the page may speak to."""
    connect = f"'self' {broker_websocket}".rstrip()
    policy = (
        "default-src 'self'",
        f"connect-src {connect}",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
    return {
        "content-security-policy": "; ".join(policy),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    }


class Guard:
    """ASGI middleware that refuses what comes from another page, and adds the headers.

    `local_names_only` where nobody logs in: a page of anywhere may point a name of its own at 127.0.0.1, and would be
    taken for ours by the browser, but cannot hide that name.
    """

    def __init__(self, app: ASGIApp, *, headers: dict[str, str], local_names_only: bool) -> None:
        self._app = app
        self._headers = headers
        self._local_names_only = local_names_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._why_not(scope)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            await refusal(scope, receive, send_with_headers)

    def _why_not(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._local_names_only and not is_loopback(_hostname(host)):
            return problem(
                421, "this display is served to its own machine alone; open it as http://127.0.0.1"
            )
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in _READING
        if changes and origin is not None and _place(origin) != host.lower():
            return problem(403, "the request comes from a page of another place; open the display itself")
        return None


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _place(origin: str) -> str:
    """Host and port of an origin, as the browser writes them into `Host`; "-" where there is none."""
    _, slashes, place = origin.partition("://")
    return place.lower() if slashes else "-"
