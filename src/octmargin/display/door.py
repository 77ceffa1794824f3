"""A server of one person: whoever opens the address that was printed is let in, once, and nobody else."""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from octmargin.display.answers import NO_STORE, problem
from octmargin.display.sessions import Refused, Session

COOKIE: Final = "octmargin-review"
"""Another one than the display's: both may be open in a browser, and a cookie knows no ports."""


class Door:
    """Stands where `Sessions` stands. The ticket is good for one browser; `session` is who comes through."""

    def __init__(self, session: Session, *, leads_to: str) -> None:
        self._session = session
        self._leads_to = leads_to
        self._ticket = secrets.token_urlsafe(32)
        self._token = ""
        self.path = f"/enter/{self._ticket}"
        """To be opened once."""

    async def by_token(self, token: str) -> Session | None:
        """The session, for the token that the one visitor has."""
        is_right = bool(self._token) and hmac.compare_digest(token.encode(), self._token.encode())
        return self._session if is_right else None

    async def by_password(self, _user: str, _password: str, _address: str) -> Refused:
        """Nobody: there are no passwords here."""
        return Refused(
            401, "there are no passwords here; open the address that `octmargin case review` printed"
        )

    def route(self) -> BaseRoute:
        """The way in."""

        async def enter(request: Request) -> Response:
            ticket = request.path_params["ticket"]
            if self._token or not hmac.compare_digest(ticket.encode(), self._ticket.encode()):
                return problem(
                    403, "this address is good for one browser, once; start `octmargin case review` anew"
                )
            if request.method != "GET":
                return Response(headers=NO_STORE)
            self._token = secrets.token_urlsafe(32)
            answer = RedirectResponse(self._leads_to, status_code=303, headers=NO_STORE)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict", path="/")
            return answer

        return Route("/enter/{ticket}", enter, methods=["GET"])
