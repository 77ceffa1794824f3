"""What the engine kept of a frame to be looked at, put where the display finds it."""

from __future__ import annotations

from collections.abc import Callable

from octmargin.display.bscan_store import BscanStore, KeptFrame, KeptSweep, SweepAbout
from octmargin.engine import Judged
from octmargin.margin import Verdict
from octmargin.sweeps import SweepBook


class BscanDesk:
    """Takes the B-scans of the present sweep. `on_stage()` tells case and specimen when a sweep begins."""

    def __init__(
        self,
        store: BscanStore,
        *,
        session: str,
        synthetic: bool,
        axial_um: float,
        on_stage: Callable[[], tuple[str, str]],
    ) -> None:
        self._store = store
        self._session = session
        self._synthetic = synthetic
        self._axial_um = axial_um
        self._on_stage = on_stage
        self._book: SweepBook | None = None
        self._sweep: KeptSweep | None = None

    def take(self, book: SweepBook, judged: Judged) -> None:
        """Keep the B-scan of a frame that was judged."""
        if judged.bscan is None:
            return
        if self._sweep is None or book is not self._book:
            self._book, self._sweep = book, self._store.begin(book.number, self._about(book, judged))
        self._store.keep(self._sweep, judged.header.index, kept_frame(judged))

    def face_done(self, book: SweepBook, verdict: Verdict) -> None:
        """Nothing is left to be done: every frame was kept as it came."""

    def _about(self, book: SweepBook, judged: Judged) -> SweepAbout:
        assert judged.bscan is not None  # noqa: S101 - `take` has looked
        case_id, specimen_id = self._on_stage()
        alines, depth = judged.bscan.shape
        return SweepAbout(
            face=book.plan.face,
            session=self._session,
            case_id=case_id,
            specimen_id=specimen_id,
            synthetic=self._synthetic,
            alines=alines,
            depth=depth,
            axial_um=self._axial_um,
            aline_um=1000 * book.plan.width_mm / book.plan.alines,
        )


def kept_frame(judged: Judged) -> KeptFrame:
    """A frame that was judged with its B-scan, as the display keeps it."""
    assert judged.bscan is not None  # noqa: S101 - asked for of every frame
    flags = judged.flags
    return KeptFrame(
        levels=judged.bscan,
        surface_px=flags.surface_px,
        state=flags.state,
        suspicion=flags.suspicion,
        distance_mm=flags.distance_mm,
        visualised_depth_mm=flags.visualised_depth_mm,
    )
