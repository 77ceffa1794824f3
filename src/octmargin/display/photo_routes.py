"""The specimen's photo over HTTP, and where the faces are on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from octmargin.display.answers import NO_STORE, as_json, problem
from octmargin.display.bodies import BodyRefusedError, read_body
from octmargin.display.gate import may_write, session_of
from octmargin.display.photo import Photo, PhotoRefusedError, Placement, Specimen
from octmargin.display.photos import MOST_PHOTO_BYTES, Photos

_MOST_PLACEMENT_BYTES = 2048
_NO_SPECIMEN = "no specimen is on the stage; register one first"


def photo_routes(photos: Photos, on_stage: Callable[[], Specimen | None]) -> list[BaseRoute]:
    """Routes below `/api/photo`, all about the specimen that is on the stage when they are asked.

    With `?case_id=` and `?specimen_id=` they answer only where it is that one.
    """

    async def answered(request: Request) -> Response:
        try:
            if request.method == "PUT" and not may_write(session_of(request)):
                return problem(403, "only an operator or a reader may change the photo")
            specimen = _specimen(request, on_stage())
            if request.method == "PUT":
                return await _put(request, photos, specimen, on_stage)
            return await _get(request, photos, specimen)
        except (PhotoRefusedError, BodyRefusedError) as error:
            return problem(error.status, str(error))

    return [
        Route("/api/photo", answered, methods=["GET", "PUT"]),
        Route("/api/photo/placement", answered, methods=["GET", "PUT"]),
    ]


def _specimen(request: Request, specimen: Specimen | None) -> Specimen:
    if specimen is None:
        raise PhotoRefusedError(409, _NO_SPECIMEN)
    # Specimens of two cases may be called the same.
    for name, key, on_stage in zip(("case", "specimen"), ("case_id", "specimen_id"), specimen, strict=True):
        wanted = request.query_params.get(key)
        if wanted is not None and wanted != on_stage:
            raise PhotoRefusedError(
                409, f"{name} {wanted[:64]!r} is not on the stage any more; {on_stage!r} is"
            )
    return specimen


def _is_placement(request: Request) -> bool:
    path: str = request.scope["path"]
    return path.endswith("/placement")


async def _put(
    request: Request, photos: Photos, specimen: Specimen, on_stage: Callable[[], Specimen | None]
) -> Response:
    session = session_of(request)
    by = session.user if session is not None else ""
    if _is_placement(request):
        body = await read_body(request, _MOST_PLACEMENT_BYTES)
        try:
            placement = msgspec.json.decode(body, type=Placement)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise PhotoRefusedError(
                400, f"no placement of a face: {' '.join(str(error).split())[:200]}"
            ) from None
        return as_json(_told(specimen, await photos.place(_unchanged(specimen, on_stage), placement)))
    with photos.taking_one_in():
        body = await read_body(request, MOST_PHOTO_BYTES)
        # It took its time to come: it must not become the photo of the specimen that is on the stage by now.
        return as_json(_told(specimen, await photos.put(_unchanged(specimen, on_stage), body, by)))


def _unchanged(specimen: Specimen, on_stage: Callable[[], Specimen | None]) -> Specimen:
    if on_stage() != specimen:
        raise PhotoRefusedError(409, "another specimen is on the stage by now; nothing was changed")
    return specimen


async def _get(request: Request, photos: Photos, specimen: Specimen) -> Response:
    photo = await photos.of(specimen)
    if _is_placement(request):
        return as_json(_told(specimen, photo))
    if photo is None:
        raise PhotoRefusedError(404, "there is no photo of this specimen yet")
    headers = {**NO_STORE, "x-octmargin-version": str(photo.version)}
    return Response(photo.jpeg, headers=headers, media_type="image/jpeg")


def _told(specimen: Specimen, photo: Photo | None) -> dict[str, Any]:
    case_id, specimen_id = specimen
    about = {"case_id": case_id, "specimen_id": specimen_id}
    if photo is None:
        return {
            **about,
            "version": 0,
            "width_px": 0,
            "height_px": 0,
            "by": "",
            "placements": [],
            "not_kept": "",
        }
    return {
        **about,
        "version": photo.version,
        "width_px": photo.width_px,
        "height_px": photo.height_px,
        "by": photo.by,
        "placements": list(photo.placements.values()),
        "not_kept": photo.not_kept,
    }
