"""Where order, specimens and diagnosis codes contradict each other on the side, on the orientation, or in time.

A person who looked into it may confirm a specimen against the order, or against what the daemon's stage was told; a
diagnosis code of the other side is never right for a specimen, and is to be replaced. Silence contradicts nobody, but a
specimen of which nobody said the side is held up too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from octmargin.case.record.model import (
    CodeSide,
    Conflict,
    DiagnosisCode,
    Laterality,
    Order,
    OrderLaterality,
    SpecimenPhase,
    SpecimenRecord,
)

CLOCKS_DIFFER = timedelta(minutes=2)
"""As far apart two times may be that somebody read off two clocks."""
_SIDED = ("left", "right")
_MARKERS = ("suture", "sutures", "stitch", "stitches")


def conflicts_of(order: Order | None, specimens: Iterable[SpecimenRecord]) -> tuple[Conflict, ...]:
    """Every contradiction that nobody has resolved, in words with what to do."""
    found = list(_within_order(order)) if order is not None else []
    for specimen in specimens:
        if specimen.phase is not SpecimenPhase.WITHDRAWN:
            found += _of_specimen(order, specimen)
    return tuple(found)


def contradicted(
    order: Order | None, specimen: SpecimenRecord, laterality: Laterality, orientation: str
) -> tuple[str, ...]:
    """What said otherwise than this, and would be overruled by confirming it: named as in `Statement.despite`."""
    sources = _sources(order, specimen)
    sides = _sides_key(order)
    return tuple(
        [sides] * bool(sides)
        + [_side_key(source, side) for source, side, _ in sources if _differs_side(side, laterality)]
        + [_way_key(source, way) for source, _, way in sources if _differs_way(way, orientation)]
        + ([_time_key(specimen)] if _too_early(specimen) else [])
    )


def codes_of_other_side(specimen: SpecimenRecord, diagnoses: Sequence[DiagnosisCode]) -> str:
    """In words the codes that are of the other side than the specimen; empty where none is."""
    codes = _of_other_side(diagnoses, specimen.laterality) if specimen.laterality in _SIDED else []
    if not codes:
        return ""
    return f"specimen {specimen.specimen_id} is {specimen.laterality}, and {_listed(codes)}; give the code of its side"


def _too_early(specimen: SpecimenRecord) -> str:
    """In words that it was scanned before it was excised; empty where it was not, or nobody said when."""
    excised_at = specimen.excised_at
    first = min(specimen.sweeps, key=lambda sweep: sweep.started_at, default=None)
    # Nothing that was signed can be corrected any more.
    if excised_at is None or first is None or specimen.signature is not None:
        return ""
    if first.started_at >= excised_at - CLOCKS_DIFFER:
        return ""
    return (
        f"{first.face} was scanned at {first.started_at.isoformat(timespec='seconds')}, before specimen "
        f"{specimen.specimen_id} was excised at {excised_at.isoformat(timespec='seconds')}; find out whether the "
        "scan is of this specimen, then correct the excision (`octmargin case describe`) or confirm the specimen"
    )


def _within_order(order: Order) -> Iterator[Conflict]:
    if order.laterality in _SIDED and (codes := _of_other_side(order.diagnoses, order.laterality)):
        yield Conflict(
            specimen_id="",
            what="laterality",
            text=f"the order says {order.laterality}, and {_listed(codes)}; correct the order",
        )


def _of_specimen(order: Order | None, specimen: SpecimenRecord) -> Iterator[Conflict]:
    name = specimen.specimen_id
    confirmations = [one for one in specimen.statements if one.source == "confirmation"]
    # The newest had everything before it in view.
    overruled = confirmations[-1].despite if confirmations else ()
    if specimen.laterality == "unknown":
        yield Conflict(
            specimen_id=name,
            what="laterality",
            text=f"nobody said of which side specimen {name} is; confirm its side",
        )
    sides = _sides_key(order)
    if order is not None and sides and sides not in overruled:
        yield Conflict(
            specimen_id=name,
            what="laterality",
            text=f"the order says {' and '.join(order.sides)} at once; find out which is right, then confirm "
            f"specimen {name} or correct the order",
        )
    for source, side, way in _sources(order, specimen):
        if _differs_side(side, specimen.laterality) and _side_key(source, side) not in overruled:
            yield Conflict(
                specimen_id=name,
                what="laterality",
                text=f"the {source} says {side}, specimen {name} is registered as {specimen.laterality}; "
                "find out which is right, then confirm the specimen or correct the order",
            )
        if _differs_way(way, specimen.orientation) and _way_key(source, way) not in overruled:
            yield Conflict(
                specimen_id=name,
                what="orientation",
                text=f'the {source} says "{way}", specimen {name} is registered as "{specimen.orientation}"; '
                "find out which is right, then confirm the specimen",
            )
    if text := codes_of_other_side(specimen, _diagnoses_of(order, specimen)):
        yield Conflict(specimen_id=name, what="laterality", text=text)
    if (early := _too_early(specimen)) and _time_key(specimen) not in overruled:
        yield Conflict(specimen_id=name, what="time", text=early)


_Source = tuple[str, OrderLaterality, str]


def _sources(order: Order | None, specimen: SpecimenRecord) -> list[_Source]:
    """Who else says something: name, side and orientation, each once."""
    said: list[_Source] = [("order", order.laterality, order.orientation)] if order is not None else []
    said += [
        ("stage", statement.laterality, statement.orientation)
        for statement in specimen.statements
        if statement.source == "stage"
    ]
    return list(dict.fromkeys(said))


def _differs_side(said: OrderLaterality, registered: Laterality) -> bool:
    """What is unknown, or of both sides, contradicts neither."""
    return said in _SIDED and registered in _SIDED and said != registered


def _differs_way(said: str, registered: str) -> bool:
    return bool(_words(said)) and bool(_words(registered)) and not _same_way(said, registered)


def _same_way(one: str, other: str) -> bool:
    return _words(one) == _words(other)


def _words(orientation: str) -> list[str]:
    """Without what makes no difference: case, spaces, punctuation, and that it is a suture that is short."""
    return [word for word in re.findall(r"\w+", orientation.casefold()) if word not in _MARKERS]


def _side_key(source: str, side: OrderLaterality) -> str:
    return f"{source}, side: {side}"


def _sides_key(order: Order | None) -> str:
    """Empty where it says one side, or none."""
    return f"order, sides: {', '.join(order.sides)}" if order is not None and len(order.sides) > 1 else ""


def _way_key(source: str, way: str) -> str:
    return f"{source}, orientation: {' '.join(_words(way))}"


def _time_key(specimen: SpecimenRecord) -> str:
    excised_at = specimen.excised_at
    return f"scan, time: before {excised_at.isoformat() if excised_at is not None else 'excision'}"


def _diagnoses_of(order: Order | None, specimen: SpecimenRecord) -> tuple[DiagnosisCode, ...]:
    """Codes that hold for a specimen: its own, or where it has none, those of the order."""
    if specimen.diagnoses or order is None:
        return specimen.diagnoses
    if order.laterality == "bilateral" and any(code.side == specimen.laterality for code in order.diagnoses):
        return ()  # it names codes of both sides
    return order.diagnoses


def _of_other_side(diagnoses: Sequence[DiagnosisCode], side: CodeSide) -> list[DiagnosisCode]:
    return [code for code in diagnoses if code.side in _SIDED and code.side != side]


def _listed(codes: Sequence[DiagnosisCode]) -> str:
    return ", ".join(
        f"{code.code} is of the {code.side}" + (f" ({code.title})" if code.title else "") for code in codes
    )
