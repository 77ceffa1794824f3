"""What only the daemon has, fetched from its own display's server in the name of whoever asks."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from octmargin.bus import BrokerSettings, Topics
from octmargin.display.answers import NO_STORE, problem
from octmargin.display.bodies import BodyRefusedError, read_body
from octmargin.display.gate import may_write, session_of
from octmargin.display.photos import MOST_PHOTO_BYTES
from octmargin.display.settings import DisplaySection, is_loopback
from octmargin.display.whereabouts import Whereabouts
from octmargin.errors import ConfigError

_ANSWER_S = 10.0
_MOST_ANSWER_BYTES = 32_000_000
_MOST_CONNECTIONS, _MOST_BODIES = 16, 4
_TYPES = ("application/json", "image/png", "image/jpeg")


class Upstream:
    """The daemon's display's server. `ConfigError` where `display.ca_file` cannot be used."""

    def __init__(
        self, section: DisplaySection, broker: BrokerSettings, topics: Topics, *, passes_users: bool
    ) -> None:
        self._whereabouts = Whereabouts(broker, topics)
        self._passes_users = passes_users
        self._has_own_authority = bool(section.ca_file)
        self._tls = _trust(section)
        self._client: httpx.AsyncClient
        self._bodies = 0

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Fetch while entered."""
        limits = httpx.Limits(max_connections=_MOST_CONNECTIONS)
        client = httpx.AsyncClient(
            verify=self._tls, timeout=_ANSWER_S, limits=limits, trust_env=False, follow_redirects=False
        )
        async with client as self._client, self._whereabouts.heard():
            yield

    def routes(self) -> list[BaseRoute]:
        """Those of the daemon's server that are not to be answered here."""
        read = ("/api/bscans", "/api/bscans/{sweep}/{frame}", "/api/bscans/{sweep}/{frame}/lines")
        both = ("/api/photo", "/api/photo/placement")
        return [
            *(Route(path, self._fetch, methods=["GET"]) for path in read),
            *(Route(path, self._fetch, methods=["GET", "PUT"]) for path in both),
        ]

    async def _fetch(self, request: Request) -> Response:
        url = self._whereabouts.url
        refusal = self._why_not(request, url)
        if refusal is not None:
            return refusal
        if request.method != "PUT":
            return await self._pass_on(request, url, None)
        self._bodies += 1
        try:
            return await self._pass_on(request, url, await read_body(request, MOST_PHOTO_BYTES))
        except BodyRefusedError as error:
            return problem(error.status, str(error))
        finally:
            self._bodies -= 1

    def _why_not(self, request: Request, url: str) -> Response | None:
        if not all(value.isascii() and value.isdigit() for value in request.path_params.values()):
            return problem(404, "sweep and frame are numbers")
        if request.method == "PUT":
            if not may_write(session_of(request)):
                return problem(403, "only an operator or a reader may change the photo")
            if self._bodies >= _MOST_BODIES:
                return problem(503, "other photos are being passed on; try again")
        refusal = self._why_not_there(url)
        return problem(502, refusal) if refusal else None

    def _why_not_there(self, url: str) -> str:
        """Whoever may write the description could have passwords sent to himself."""
        if not url:
            return "the daemon serves no display, or nothing was heard of it; it needs [display]"
        try:
            parts = urlsplit(url)
            is_here, is_over_tls = is_loopback(parts.hostname or ""), parts.scheme == "https"
        except ValueError:
            is_here = is_over_tls = False
        if not is_over_tls and not (is_here and url.startswith("http://")):
            return f"the daemon's display at {url} is not served over TLS; set display.certificate there"
        if self._passes_users and not is_here and not self._has_own_authority:
            return f"no authority vouches for the daemon's display at {url}; set display.ca_file"
        return ""

    async def _pass_on(self, request: Request, url: str, body: bytes | None) -> Response:
        try:
            asked = self._client.build_request(
                request.method,
                httpx.URL(url).join(request.scope["path"]),
                params=dict(request.query_params),
                headers={"accept-encoding": "identity"},
                content=body,
            )
            async with asyncio.timeout(_ANSWER_S):
                return await self._answer(asked, request)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ssl.SSLError) as error:
            reason = " ".join(str(error).split()) or "no answer"
            return problem(502, f"the daemon's display at {url} cannot be reached ({reason}); try again")

    async def _answer(self, asked: httpx.Request, request: Request) -> Response:
        session = session_of(request)
        auth = (
            httpx.BasicAuth(session.user, session.password)
            if self._passes_users and session is not None
            else httpx.USE_CLIENT_DEFAULT
        )
        answer = await self._client.send(asked, auth=auth, stream=True)
        try:
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _MOST_ANSWER_BYTES:
                    return problem(502, "the daemon's display answers with more than can be passed on")
        finally:
            await answer.aclose()
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        if media_type not in _TYPES:
            return problem(
                502, f"the daemon's display answers with {media_type or 'nothing'}, which is none of its own"
            )
        told = {name: value for name, value in answer.headers.items() if name.startswith("x-octmargin-")}
        # 401 would have the page ask for a login that it has.
        status = 502 if answer.status_code == 401 else answer.status_code
        return Response(bytes(body), status, {**NO_STORE, **told}, media_type)


def _trust(section: DisplaySection) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=section.ca_file or None)
    except OSError as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"display.ca_file {section.ca_file!r} cannot be used ({reason}); name a PEM file with the authority of the "
            "daemon's certificate"
        ) from None
