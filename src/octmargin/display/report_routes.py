"""The report of a specimen over HTTP: as it is now, as documents, and what somebody who may sign adds to it.

Operators and readers see it; of readers, those who may sign interpret and sign. There is no route that changes or takes
away what was said.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from octmargin.display.answers import NO_STORE, as_json, problem
from octmargin.display.bodies import BodyRefusedError, read_body
from octmargin.display.gate import may_write, session_of
from octmargin.display.report_desk import MOST_BODY_BYTES, ReportDesk, ReportRefusedError, ToInterpret, ToSign
from octmargin.display.sessions import Session
from octmargin.report.wanted import Form

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TYPES: Final[dict[Form, str]] = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "text": "text/plain; charset=utf-8",
}
_OF_A_DOCUMENT: Final = {
    # It has its style and its pictures within it, and nothing that runs; the report's page shows it in a frame.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "x-frame-options": "SAMEORIGIN",
}
_ENDINGS: Final[dict[Form, str]] = {"html": "html", "pdf": "pdf", "text": "txt"}
_Body = TypeVar("_Body", ToInterpret, ToSign)
_About = Callable[[Request, str, str, Session], Awaitable[Response]]


def report_routes(desk: ReportDesk) -> list[BaseRoute]:
    """Routes below `/api/report/CASE/SPECIMEN`."""

    async def case(_: Request, case_id: str, specimen_id: str, session: Session) -> Response:
        return as_json(await desk.case(case_id, specimen_id, session))

    async def document(request: Request, case_id: str, specimen_id: str, session: Session) -> Response:
        form = request.path_params["form"]
        if form not in get_args(Form):
            raise ReportRefusedError(404, f"a report is {', '.join(get_args(Form))}")
        pictures = request.query_params.get("pictures") == "yes"
        content = await desk.document(case_id, specimen_id, form, session, pictures=pictures)
        name = f"report-{case_id}-{specimen_id}.{_ENDINGS[form]}"
        headers = {**NO_STORE, **_OF_A_DOCUMENT}
        if form != "html":
            headers["content-disposition"] = f'attachment; filename="{name}"'
        return Response(content, headers=headers, media_type=_TYPES[form])

    async def interpret(request: Request, case_id: str, specimen_id: str, session: Session) -> Response:
        return as_json(await desk.interpret(case_id, specimen_id, await _body(request, ToInterpret), session))

    async def sign(request: Request, case_id: str, specimen_id: str, session: Session) -> Response:
        return as_json(await desk.sign(case_id, specimen_id, await _body(request, ToSign), session))

    base = "/api/report/{case_id}/{specimen_id}"
    return [
        Route(base, _answering(case), methods=["GET"]),
        Route(f"{base}/interpretation", _answering(interpret), methods=["POST"]),
        Route(f"{base}/signature", _answering(sign), methods=["POST"]),
        Route(f"{base}/{{form}}", _answering(document), methods=["GET"]),
    ]


def _answering(about: _About) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        session = session_of(request)
        if session is None or not may_write(session):
            return problem(403, "a report names a patient: only an operator or a reader may see it")
        case_id, specimen_id = request.path_params["case_id"], request.path_params["specimen_id"]
        if not (_NAME.fullmatch(case_id) and _NAME.fullmatch(specimen_id)):
            return problem(404, "there is no such case or specimen")
        try:
            return await about(request, case_id, specimen_id, session)
        except (ReportRefusedError, BodyRefusedError) as error:
            return problem(error.status, str(error))

    return answered


async def _body(request: Request, kind: type[_Body]) -> _Body:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ReportRefusedError(415, "send it as application/json")
    content: Any = await read_body(request, MOST_BODY_BYTES)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ReportRefusedError(400, f"it cannot be read: {' '.join(str(error).split())[:200]}") from None
