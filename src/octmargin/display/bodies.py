"""Bodies of requests: read as they come, and no further than they may be long."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

_TIMES_HEARD, _LEAST_HEARD_BYTES = 5, 65_536


class BodyRefusedError(Exception):
    """A body that is not read to its end; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The whole body. BodyRefusedError where it is too long or does not come.

    What is too long is not kept, but heard to its end where that is near: only then does a browser read the answer.
    """
    body, came = bytearray(), 0
    try:
        async for chunk in request.stream():
            came += len(chunk)
            if came <= most_bytes:
                body += chunk
            elif came > max(_TIMES_HEARD * most_bytes, _LEAST_HEARD_BYTES):
                break
            else:
                body.clear()
    except ClientDisconnect:
        raise BodyRefusedError(400, "the request ended before its end") from None
    if came > most_bytes:
        raise BodyRefusedError(413, f"that is more than {most_bytes} bytes")
    return bytes(body)
