"""B-scans over HTTP: which are kept, one as a picture, and the lines that are drawn into it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from octmargin.bus import rounded
from octmargin.display.answers import NO_STORE, as_json, problem
from octmargin.display.bscan_pictures import BscanPictures
from octmargin.display.bscan_store import BscanStore, KeptFrame, KeptSweep, ranges
from octmargin.frames import ALINES_PER_BLOCK

_MOST_DIGITS = 9


def bscan_routes(store: BscanStore, pictures: BscanPictures) -> list[BaseRoute]:
    """Routes below `/api/bscans`. `?session=` has an answer only where the sweep is of that session."""

    async def listing(_: Request) -> Response:
        return as_json(
            {
                "bytes": store.n_bytes,
                "max_bytes": store.max_bytes,
                "thrown_out": store.thrown_out,
                "sweeps": [_listed(sweep) for sweep in store.sweeps],
            }
        )

    def find(request: Request) -> tuple[KeptSweep, KeptFrame] | str:
        numbers = [_number(request.path_params[name]) for name in ("sweep", "frame")]
        if None in numbers:
            return "sweep and frame are numbers of up to nine digits"
        sweep, frame = (number for number in numbers if number is not None)
        return store.find(sweep, frame, request.query_params.get("session"))

    async def picture(request: Request) -> Response:
        found = find(request)
        if isinstance(found, str):
            return problem(404, found)
        drawn = await pictures.of(*found)
        about = found[0].about
        headers = {
            **NO_STORE,
            "x-octmargin-floor-db": f"{drawn.window.floor_db:g}",
            "x-octmargin-top-db": f"{drawn.window.top_db:g}",
            "x-octmargin-session": about.session,
            "x-octmargin-synthetic": "yes" if about.synthetic else "no",
        }
        return Response(drawn.png, headers=headers, media_type="image/png")

    async def lines(request: Request) -> Response:
        found = find(request)
        if isinstance(found, str):
            return problem(404, found)
        sweep, frame = found
        return as_json(
            {
                "session": sweep.about.session,
                "face": sweep.about.face,
                "synthetic": sweep.about.synthetic,
                "width_mm": round(sweep.about.alines * sweep.about.aline_um / 1000, 3),
                "axial_um": sweep.about.axial_um,
                "alines_per_block": ALINES_PER_BLOCK,
                "surface_px": rounded(frame.surface_px.tolist(), 1),
                "state": frame.state.tolist(),
                "suspicion": rounded(frame.suspicion.tolist(), 3),
                "distance_mm": rounded(frame.distance_mm.tolist(), 3),
                "visualised_depth_mm": rounded(frame.visualised_depth_mm.tolist(), 2),
            }
        )

    return [
        Route("/api/bscans", listing, methods=["GET"]),
        Route("/api/bscans/{sweep}/{frame}", picture, methods=["GET"]),
        Route("/api/bscans/{sweep}/{frame}/lines", lines, methods=["GET"]),
    ]


def _listed(sweep: KeptSweep) -> dict[str, Any]:
    about = sweep.about
    return {
        "sweep": sweep.number,
        "face": about.face,
        "session": about.session,
        "case_id": about.case_id,
        "specimen_id": about.specimen_id,
        "synthetic": about.synthetic,
        "frames": ranges(sweep.frames),
        "height_px": about.depth,
        "width_px": about.alines,
        "axial_um": about.axial_um,
        "aline_um": about.aline_um,
        "thrown_out": sweep.thrown_out,
    }


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
