"""The display's server: what it serves, put together."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.routing import BaseRoute

from octmargin.bus import BrokerSettings, Topics
from octmargin.bus.rights import Role
from octmargin.display.app import Parts, make_app
from octmargin.display.assets import Assets
from octmargin.display.bscan_pictures import BscanPictures
from octmargin.display.bscan_routes import bscan_routes
from octmargin.display.bscan_store import BscanStore
from octmargin.display.door import Door
from octmargin.display.listening import listening
from octmargin.display.photo import Specimen
from octmargin.display.photo_routes import photo_routes
from octmargin.display.photos import Photos
from octmargin.display.pipe import Pipe
from octmargin.display.proof import Prover
from octmargin.display.report_desk import ReportDesk
from octmargin.display.report_routes import report_routes
from octmargin.display.sessions import Session, Sessions
from octmargin.display.settings import DisplaySection
from octmargin.display.site import Site
from octmargin.display.upstream import Upstream

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a browser on this machine calls it


@dataclass(frozen=True, slots=True)
class Served:
    """A server that listens."""

    url: str
    """Where a browser on this machine finds it."""
    url_from_afar: str
    """Where other machines do."""


@dataclass(frozen=True, slots=True)
class OwnResults:
    """What a daemon shows on its own display: B-scans, and what it has on the stage by identifiers, if anything."""

    bscans: BscanStore
    on_stage: Callable[[], Specimen | None]
    reports: ReportDesk | None = None
    """None where no record of cases is kept."""


@contextlib.asynccontextmanager
async def serving_display(
    section: DisplaySection,
    site: Site,
    broker: BrokerSettings,
    *,
    results: OwnResults | None = None,
    on_fault: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Served]:
    """Serve while entered. `ConfigError` where the address cannot be listened on, or a file cannot be used.

    Without `results` they are fetched from the daemon's own display. `on_fault` is told in words where the server ends
    by itself.
    """
    pipe = Pipe(broker)
    sessions = None
    if site.login == "required":
        sessions = Sessions(Prover(broker, section.broker_websocket), site.site)
    async with contextlib.AsyncExitStack() as stack:
        if results is not None:
            of_results = _own_routes(results, section.photo_folder, stack)
        else:
            upstream = Upstream(
                section, broker, Topics(site.site, site.console), passes_users=sessions is not None
            )
            of_results = upstream.routes()
            await stack.enter_async_context(upstream.connected())
        app = make_app(Parts(site, Assets.shipped(), pipe, sessions, of_results), section)
        port = await stack.enter_async_context(listening(section, app, on_fault))
        stack.callback(pipe.close)
        yield Served(_url(section, port), section.url or _url(section, port, from_afar=True))


@contextlib.asynccontextmanager
async def serving_review(
    section: DisplaySection, site: Site, bscans: BscanStore, reports: ReportDesk, *, page: str
) -> AsyncIterator[str]:
    """Serve the reports' page alone, without a console and without a broker, while entered.

    Gives the address, which lets one browser in, once, and leads it to `page`.
    ConfigError where the address cannot be listened on.
    """
    pictures = BscanPictures()
    routes = [*bscan_routes(bscans, pictures), *report_routes(reports)]
    door = Door(Session(section.user, "", Role(section.role), 0.0, 0.0, 0.0), leads_to=page)
    app = make_app(Parts(site, Assets.shipped(), None, None, routes, door), section)
    with contextlib.closing(pictures):
        async with listening(section, app, lambda _: None) as port:
            yield _url(section, port).rstrip("/") + door.path


def _own_routes(results: OwnResults, photo_folder: str, stack: contextlib.AsyncExitStack) -> list[BaseRoute]:
    pictures, photos = BscanPictures(), Photos(Path(photo_folder) if photo_folder else None)
    stack.callback(pictures.close)
    stack.callback(photos.close)
    routes = [*bscan_routes(results.bscans, pictures), *photo_routes(photos, results.on_stage)]
    return routes if results.reports is None else [*routes, *report_routes(results.reports)]


def _url(section: DisplaySection, port: int, *, from_afar: bool = False) -> str:
    scheme, host = "https" if section.has_tls else "http", section.host
    if host in _ANY:
        # Each of this machine's addresses.
        host = socket.gethostname() if from_afar else _ANY[host]
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"
