"""The daemon's own display: served in its event loop, and given what is to be seen there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from octmargin.bscan_desk import BscanDesk
from octmargin.bus import Topics
from octmargin.config import Config
from octmargin.display import (
    BscanStore,
    DisplaySection,
    OwnResults,
    ReportDesk,
    make_site,
    serving_display,
)

_BYTES_PER_MB = 1_000_000


class OwnDisplay:
    """Serves `[display]` of a configuration, and keeps the B-scans for it."""

    def __init__(self, config: Config, section: DisplaySection) -> None:
        self._config = config
        self._section = section
        self._bscans = BscanStore(section.bscans_mb * _BYTES_PER_MB)
        self.url = ""
        """How other machines reach it; empty until it is served."""
        self.url_here = ""
        """How a browser on this machine does."""
        self._on_stage: tuple[str, str] | None = None

    def turn_to(self, case_id: str, specimen_id: str) -> None:
        """What is on the stage from now on, by identifiers; no specimen where its own is empty."""
        self._on_stage = (case_id, specimen_id) if specimen_id else None

    @contextlib.asynccontextmanager
    async def served(self, on_fault: Callable[[str], None]) -> AsyncIterator[None]:
        """Serve while entered; ConfigError where that cannot be, `on_fault` where it ends by itself."""
        config, section = self._config, self._section
        site = make_site(
            Topics(config.site, config.console),
            section,
            config.broker,
            ink=config.orientation.ink,
            sutures=config.orientation.sutures,
            opaque_identifiers=config.case.id_pattern is None,
            has_record=config.record is not None,
        )
        results = OwnResults(
            self._bscans,
            lambda: self._on_stage,
            ReportDesk(config.record) if config.record is not None else None,
        )
        async with serving_display(
            section, site, config.broker, results=results, on_fault=on_fault
        ) as served:
            self.url, self.url_here = served.url_from_afar, served.url
            yield

    def onlooker(self, *, session: str, synthetic: bool, axial_um: float) -> BscanDesk:
        """Takes the B-scans of what is scanned."""
        return BscanDesk(
            self._bscans,
            session=session,
            synthetic=synthetic,
            axial_um=axial_um,
            on_stage=lambda: self._on_stage or ("", ""),
        )
