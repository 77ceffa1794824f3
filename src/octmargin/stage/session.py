"""What is being done with the specimen on the stage: who may ask for what when, and what the scan is to do then.

docs/commands.md draws it. Orders change what is *wanted* at once; what *is*, the scan tells (`face_begins`, `held`,
`face_ends`, `run_ends`). `phase` says what is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from octmargin.bus.decisions import Decision, Mark
from octmargin.bus.messages import Phase, Specimen, SpecimenKind
from octmargin.bus.orders import Decide, MarkRegion, Register, Start
from octmargin.bus.rights import Sender
from octmargin.errors import OrderRefusedError
from octmargin.frames import FACE_NAME, IDENTIFIER
from octmargin.identifiers import OPAQUE, IdentifierScheme
from octmargin.stage.readings import Readings, Swept, check_text


class Wish(Enum):
    """What the scan is to do."""

    REST = auto()
    """Nothing is to be scanned."""
    SCAN = auto()
    """Scan the faces of the run."""
    HOLD = auto()
    """Stand still, and wait for what comes."""
    END = auto()
    """End the face as it is, and the run."""


@dataclass(frozen=True, slots=True)
class Conventions:
    """What holds for all specimens: faces of a lumpectomy in scanning order, and those that the console offers.

    An empty `offered` allows all. `scheme` says what identifiers look like.
    """

    faces: tuple[str, ...]
    offered: tuple[str, ...] = ()
    scheme: IdentifierScheme = OPAQUE

    def planned(self, kind: SpecimenKind, asked: list[str] | None) -> tuple[str, ...]:
        """Faces of a new specimen; `OrderRefusedError` where they cannot be scanned."""
        faces = tuple(asked) if asked else self.faces if kind == "lumpectomy" else (kind,)
        for face in faces:
            check_text("a face", face)
            if not re.fullmatch(FACE_NAME, face):
                raise OrderRefusedError(
                    "a face has a name of letters without accents, digits, spaces, _ . - alone"
                )
            if self.offered and face not in self.offered:
                raise OrderRefusedError(f"the console has no such face; it offers {', '.join(self.offered)}")
        if len(set(faces)) < len(faces):
            raise OrderRefusedError("a face is named twice; name each once")
        return faces


@dataclass(frozen=True, slots=True)
class Stage:
    """The specimen on the stage; without one, `specimen` is None and `specimen_id` empty."""

    case_id: str
    specimen_id: str = ""
    specimen: Specimen | None = None
    faces: tuple[str, ...] = ()


@dataclass(slots=True)
class _Run:
    """Faces that are still to be scanned, after `face`, which is being scanned or about to."""

    waiting: list[str]
    face: str = ""
    wish: Wish = Wish.SCAN
    is_held: bool = False


class CaseSession:
    """The specimens of one daemon, one after the other. Orders that cannot be are refused and change nothing.

    `on_change` is told after each change; `draw_id` draws an identifier for a specimen.
    """

    def __init__(self, stage: Stage, conventions: Conventions, *, draw_id: Callable[[], str]) -> None:
        self.stage = stage
        self.readings = Readings()
        self._conventions = conventions
        self._draw_id = draw_id
        self.on_change: Callable[[], None] = lambda: None
        self._is_closed = stage.specimen is None
        self._selected: str | None = None
        self._run: _Run | None = None
        self._used = {(stage.case_id, stage.specimen_id)} if stage.specimen is not None else set()

    def go_on(self, stage: Stage, sweeps: Iterable[Swept]) -> None:
        """Take over what an earlier run left on the stage, with its sweeps, also those that were cut short."""
        self.stage = stage
        self.readings = Readings()
        for swept in sweeps:
            self.readings.ended(swept)
        self._is_closed = stage.specimen is None
        if stage.specimen is not None:
            self._used.add((stage.case_id, stage.specimen_id))
        self.on_change()

    # -- what is ----------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """What is being done; `closed` also without a specimen."""
        if self._run is not None:
            return "paused" if self._run.is_held else "scanning"
        return "closed" if self._is_closed else "idle"

    @property
    def face(self) -> str | None:
        """The face that is being scanned, or selected."""
        return self._run.face if self._run is not None and self._run.face else self._selected

    @property
    def sweeps(self) -> Mapping[str, int]:
        """The newest sweep over each face."""
        return {face: swept.number for face, swept in self.readings.newest.items()}

    @property
    def wish(self) -> Wish:
        """What the scan is to do now."""
        return self._run.wish if self._run is not None else Wish.REST

    @property
    def faces_to_come(self) -> tuple[str, ...]:
        """Faces of the run that were not begun yet."""
        return tuple(self._run.waiting) if self._run is not None else ()

    @property
    def left(self) -> tuple[str, ...]:
        """Planned faces that were not scanned whole, in their order."""
        newest = self.readings.newest
        return tuple(face for face in self.stage.faces if face not in newest or not newest[face].is_whole)

    # -- what people ask for ----------------------------------------------------------------------------

    def register(self, order: Register) -> str:
        """Put a new specimen on the stage; gives its id."""
        self._must_rest("register")
        faces = self._conventions.planned(order.kind, order.faces)
        case_id = order.case_id or self.stage.case_id
        specimen_id = order.specimen_id or self._draw_id()
        for what, name in (("case_id", case_id), ("specimen_id", specimen_id)):
            if not re.fullmatch(IDENTIFIER, name) or len(name) > 64:
                raise OrderRefusedError(
                    f"{what}: small letters without accents, digits and -, 64 at most; never a patient's name"
                )
        for what, given in (("case_id", order.case_id), ("specimen_id", order.specimen_id)):
            if given and (reason := self._conventions.scheme.why_not(given)):
                # What may be a patient's is not repeated: the answer goes on the bus.
                raise OrderRefusedError(f"{what} {reason}")
        if (case_id, specimen_id) in self._used:
            raise OrderRefusedError(f"specimen {specimen_id} was registered before; give this one another id")
        for what, text in (("orientation", order.orientation), ("label", order.label)):
            check_text(what, text)
        specimen = Specimen(
            kind=order.kind, laterality=order.laterality, orientation=order.orientation, label=order.label
        )
        self._used.add((case_id, specimen_id))
        self.stage = Stage(case_id, specimen_id, specimen, faces)
        self.readings = Readings()
        self._is_closed = False
        self._selected = None
        self.on_change()
        return specimen_id

    def close(self) -> None:
        """The specimen is over."""
        self._must_be_open("close")
        self._must_rest("close")
        self._is_closed = True
        self._selected = None
        self.on_change()

    def select(self, face: str) -> None:
        """A face is turned to the console."""
        self._must_be_open("select")
        self._must_rest("select")
        self._must_be_planned(face)
        self._selected = face
        self.on_change()

    def start(self, order: Start) -> tuple[str, ...]:
        """Scan one face, or all that are left; gives them."""
        self._must_be_open("start")
        self._must_rest("start")
        faces = self.left if order.all else (self._to_start(order.face),)
        if not faces:
            raise OrderRefusedError("all faces were scanned; rescan one, or close the specimen")
        self._begin(faces)
        return faces

    def rescan(self, face: str) -> None:
        """Scan a face that was scanned before, anew."""
        self._must_be_open("rescan")
        self._must_rest("rescan")
        self._must_be_planned(face)
        if face not in self.readings.newest:
            raise OrderRefusedError(f"{face} was not scanned yet; start it")
        self._begin((face,))

    def pause(self) -> None:
        """Hold the sweep."""
        run = self._running("pause")
        if run.wish is not Wish.SCAN:
            raise OrderRefusedError(_busy(run))
        run.wish = Wish.HOLD
        self.on_change()

    def resume(self) -> None:
        """Go on, also where it is not held yet."""
        run = self._running("resume")
        if run.wish is not Wish.HOLD:
            raise OrderRefusedError("it is not paused")
        run.wish, run.is_held = Wish.SCAN, False
        self.on_change()

    def stop(self) -> None:
        """End the face as it is, and the run."""
        run = self._running("stop")
        if run.wish is Wish.END:
            raise OrderRefusedError(_busy(run))
        run.wish, run.is_held, run.waiting = Wish.END, False, []
        self.on_change()

    def decide(self, order: Decide, sender: Sender, at: datetime) -> Decision:
        """Keep a reader's word on a sweep of this specimen."""
        self._must_be_open("decide")
        return self.readings.decide(order, sender, at)

    def mark(self, order: MarkRegion, sender: Sender, at: datetime) -> Mark:
        """Keep a reader's region of interest on a sweep of this specimen."""
        self._must_be_open("mark")
        return self.readings.mark(order, sender, at)

    # -- what the scan tells ----------------------------------------------------------------------------

    def scan_all(self) -> None:
        """Begin a run over all planned faces, whatever was scanned: as the configuration asks for."""
        self._begin(self.stage.faces)

    def next_face(self) -> str | None:
        """The face that comes next, which is the one on the stage from now on; None where the run is over.

        Not while it is to hold.
        """
        run = self._run
        if run is None or run.wish is Wish.END or not run.waiting:
            return None
        run.face = self._selected = run.waiting.pop(0)
        self.on_change()
        return run.face

    def held(self) -> None:
        """It stands still."""
        if self._run is not None and self._run.wish is Wish.HOLD and not self._run.is_held:
            self._run.is_held = True
            self.on_change()

    def face_begins(self, swept: Swept) -> None:
        """A sweep over the face begins; another one where the one before failed."""
        self.readings.begun(swept)
        self.on_change()

    def face_ends(self, swept: Swept) -> None:
        """Its final verdict is said."""
        self.readings.ended(swept)
        self.on_change()

    def run_ends(self) -> None:
        """Nothing is scanned any more."""
        self._run = None
        self.on_change()

    # -- what may be ------------------------------------------------------------------------------------

    def _begin(self, faces: tuple[str, ...]) -> None:
        self._run = _Run(list(faces))
        self.on_change()

    def _to_start(self, face: str | None) -> str:
        face = face or self._selected
        if face is None:
            raise OrderRefusedError("no face is selected; select the one that is turned to the console")
        self._must_be_planned(face)
        if face not in self.left:
            raise OrderRefusedError(f"{face} was scanned whole; rescan it, or select another face")
        return face

    def _must_be_open(self, what: str) -> None:
        if self.stage.specimen is None:
            raise OrderRefusedError(f"no specimen is registered; register one before you {what}")
        if self._is_closed:
            raise OrderRefusedError(f"specimen {self.stage.specimen_id} is closed; register the next one")

    def _must_rest(self, what: str) -> None:
        if self._run is not None:
            raise OrderRefusedError(f"{_busy(self._run)}; stop it, or wait, before you {what}")

    def _must_be_planned(self, face: str) -> None:
        if face not in self.stage.faces:
            raise OrderRefusedError(f"there is no such face; planned are {', '.join(self.stage.faces)}")

    def _running(self, what: str) -> _Run:
        if self._run is None:
            raise OrderRefusedError(f"nothing is being scanned; there is nothing to {what}")
        return self._run


def _busy(run: _Run) -> str:
    what = run.face or ", ".join(run.waiting) or "a face"
    match run.wish:
        case Wish.HOLD if run.is_held:
            return f"the sweep over {what} is paused"
        case Wish.HOLD:
            return f"the sweep over {what} is being paused"
        case Wish.END:
            return f"the sweep over {what} is being stopped"
        case _:
            return f"{what} is being scanned"
