"""The gate before everything but the page's own files: whoever comes must be logged in, where there are users."""

from __future__ import annotations

import base64
import binascii

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from octmargin.bus.rights import Role
from octmargin.display.answers import problem
from octmargin.display.door import Door
from octmargin.display.sessions import Refused, Session, Sessions

_NOBODYS = ("/", "/api/login", "/api/logout")
"""Where it does not matter who comes."""
_OPEN_BELOW = ("/static/", "/enter/")
_OPEN = "/api/site"
"""What has an answer also for somebody who is not logged in."""
_CHALLENGE = {"www-authenticate": 'octmargin realm="display"'}
"""Not "Basic": a browser would ask for the password itself, and keep it for every page of this place."""


def cookie_name(*, has_tls: bool) -> str:
    """Of the session's cookie; with this prefix a browser takes it from this very host over TLS alone."""
    return "__Host-octmargin" if has_tls else "octmargin"


class Gate:
    """ASGI middleware: puts the session into `request.state.session`, or answers 401.

    Without `sessions` nobody logs in, and everybody is `nobody`. `cookie` is what the token is in.
    """

    def __init__(
        self, app: ASGIApp, *, sessions: Sessions | Door | None, nobody: Session, cookie: str
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._nobody = nobody
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path in _NOBODYS or path.startswith(_OPEN_BELOW):
            await self._app(scope, receive, send)
            return
        found = await self._session(scope)
        if isinstance(found, Refused) and path != _OPEN:
            wait = {} if found.retry_after_s is None else {"retry-after": str(found.retry_after_s)}
            challenge = _CHALLENGE if found.status == 401 else {}
            await problem(found.status, found.reason, {**wait, **challenge})(scope, receive, send)
            return
        scope.setdefault("state", {})["session"] = found if isinstance(found, Session) else None
        await self._app(scope, receive, send)

    async def _session(self, scope: Scope) -> Session | Refused:
        if self._sessions is None:
            return self._nobody
        headers = Headers(scope=scope)
        token = token_of(headers, self._cookie)
        if token:
            session = await self._sessions.by_token(token)
            if session is not None:
                return session
        basic = _basic(headers.get("authorization", ""))
        if basic is not None:
            return await self._sessions.by_password(*basic, address_of(scope))
        return Refused(401, "log in first")


def session_of(connection: HTTPConnection) -> Session | None:
    """Who asks; None for somebody who is not logged in, at what is open."""
    session: Session | None = connection.scope["state"]["session"]
    return session


def may_write(session: Session | None) -> bool:
    """Whether somebody may change what others see."""
    return session is not None and session.role in (Role.OPERATOR, Role.READER)


def address_of(scope: Scope) -> str:
    """Network address of whoever asks."""
    client = scope.get("client")
    return str(client[0]) if client else "-"


def token_of(headers: Headers, name: str) -> str:
    """Token in the session's cookie; empty where there is none."""
    return cookie_parser(headers.get("cookie", "")).get(name, "")


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None
