"""Shares with their intervals, and spreads, of the rows of a period.

Intervals are Wilson's score intervals of 95 % (Wilson, J Am Stat Assoc 1927, doi 10.1080/01621459.1927.10502953), as
scipy has them. They take faces for independent, which those of one specimen are not quite: they are too narrow by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from statistics import quantiles
from typing import Final, Literal

from msgspec import Struct

from octmargin.case.quality.faces import FaceRow, SpecimenRow
from octmargin.case.record.formalin import LIMIT

CONFIDENCE: Final = 0.95
Reader = Literal["algorithm", "interpreter"]
_ANSWERS = ("suspicious", "nothing_suspicious")


class Share(Struct, frozen=True, kw_only=True):
    """`k` of `n`, with the ends of its interval; `value` and ends are None where n is 0."""

    name: str
    says: str
    """What k and n count, in words."""
    k: int
    n: int
    value: float | None
    low: float | None
    high: float | None


class Spread(Struct, frozen=True, kw_only=True):
    """Median and quartiles of `n` values; None without any."""

    name: str
    says: str
    unit: str
    n: int
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None


class Month(Struct, frozen=True, kw_only=True):
    """What a month brought."""

    month: str
    cases: int
    specimens: int
    agreement: Share
    unanswered: Share
    re_operation: Share
    scanning: Spread


class Quality(Struct, frozen=True, kw_only=True):
    """Everything that is measured over a period; `close_is_positive` says what counted as a positive margin."""

    first: date | None
    last: date | None
    synthetic: bool
    close_is_positive: bool
    cases: int
    specimens: int
    faces: int
    correlated: int
    """Faces of which pathology says something that can be compared."""
    algorithm: tuple[Share, ...]
    interpreter: tuple[Share, ...]
    course: tuple[Share, ...]
    spreads: tuple[Spread, ...]
    months: tuple[Month, ...]


def share(name: str, says: str, k: int, n: int) -> Share:
    """With Wilson's interval."""
    if n == 0:
        return Share(name=name, says=says, k=k, n=n, value=None, low=None, high=None)
    from scipy.stats import binomtest  # noqa: PLC0415 - takes a second that no other command should wait

    interval = binomtest(k, n).proportion_ci(CONFIDENCE, method="wilson")
    return Share(
        name=name, says=says, k=k, n=n, value=k / n, low=float(interval.low), high=float(interval.high)
    )


def measure(
    rows: Sequence[SpecimenRow],
    *,
    first: date | None,
    last: date | None,
    synthetic: bool,
    close_is_positive: bool,
) -> Quality:
    """Everything over the rows of a period."""
    faces = [face for row in rows for face in row.faces]
    return Quality(
        first=first,
        last=last,
        synthetic=synthetic,
        close_is_positive=close_is_positive,
        cases=len({row.case_id for row in rows}),
        specimens=len(rows),
        faces=len(faces),
        correlated=len(_correlated(faces)),
        algorithm=_against_pathology(faces, "algorithm", close_is_positive),
        interpreter=_against_pathology(faces, "interpreter", close_is_positive),
        course=_course(rows, close_is_positive),
        spreads=_spreads(rows),
        months=tuple(_months(rows, close_is_positive)),
    )


def _correlated(faces: Iterable[FaceRow]) -> list[FaceRow]:
    return [face for face in faces if face.pathology not in ("", "not_assessed")]


def _is_positive(face: FaceRow, close_is_positive: bool) -> bool:
    return face.pathology == "positive" or (close_is_positive and face.pathology == "close")


def _against_pathology(
    faces: Iterable[FaceRow], reader: Reader, close_is_positive: bool
) -> tuple[Share, ...]:
    """Of faces with a result: where there is no answer, that is counted apart, and never as right.

    A face that nobody interpreted is none of the interpreter's.
    """
    words = ((str(getattr(face, reader)), face) for face in _correlated(faces))
    compared = [(word, _is_positive(face, close_is_positive)) for word, face in words if word]
    answered = [(word == "suspicious", positive) for word, positive in compared if word in _ANSWERS]
    positives = [suspicious for suspicious, positive in answered if positive]
    negatives = [not suspicious for suspicious, positive in answered if not positive]
    flagged = [positive for suspicious, positive in answered if suspicious]
    unflagged = [not positive for suspicious, positive in answered if not suspicious]
    found = sum(positives)
    return (
        share("sensitivity", "suspicious, of positive faces with an answer", found, len(positives)),
        share(
            "sensitivity, no answer counted as missed",
            "suspicious, of all positive faces",
            found,
            sum(positive for _, positive in compared),
        ),
        share(
            "specificity",
            "nothing suspicious, of negative faces with an answer",
            sum(negatives),
            len(negatives),
        ),
        share("positive predictive value", "positive, of suspicious faces", sum(flagged), len(flagged)),
        share(
            "negative predictive value",
            "negative, of faces with nothing suspicious",
            sum(unflagged),
            len(unflagged),
        ),
        share("agreement", "as pathology, of faces with an answer", found + sum(negatives), len(answered)),
        share(
            "no answer",
            "indeterminate or not seen, of faces with a result of pathology",
            len(compared) - len(answered),
            len(compared),
        ),
    )


def _course(rows: Sequence[SpecimenRow], close_is_positive: bool) -> tuple[Share, ...]:
    faces = [face for row in rows for face in row.faces]
    scanned = [face for face in faces if face.algorithm != "not_scanned"]
    read = [face for face in scanned if face.reader]
    lumpectomies = [row for row in rows if row.kind == "lumpectomy"]
    examined = [row for row in lumpectomies if _correlated(row.faces)]
    timed = [row.excision_to_formalin_min for row in rows if row.excision_to_formalin_min is not None]
    limit_min = LIMIT.total_seconds() / 60
    return (
        share("scanned", "scanned, of planned faces", len(scanned), len(faces)),
        share(
            "indeterminate",
            "indeterminate, of scanned faces",
            sum(face.algorithm == "indeterminate" for face in scanned),
            len(scanned),
        ),
        share(
            "reader disagreed",
            "newest word disagrees, of faces on which somebody said one",
            sum(face.reader == "disagree" for face in read),
            len(read),
        ),
        share(
            "immediate re-excision",
            "lumpectomies with more taken in the same operation, of all",
            sum(any(face.re_excised for face in row.faces) for row in lumpectomies),
            len(lumpectomies),
        ),
        share(
            "positive and not re-excised at once",
            "lumpectomies with a positive face where nothing more was taken, of those with a result",
            sum(
                any(_is_positive(face, close_is_positive) and not face.re_excised for face in row.faces)
                for row in examined
            ),
            len(examined),
        ),
        _re_operation(rows),
        share(
            "formalin within the hour",
            "specimens in formalin within 60 min, of those with both times",
            sum(minutes <= limit_min for minutes in timed),
            len(timed),
        ),
    )


def _re_operation(rows: Iterable[SpecimenRow]) -> Share:
    cases: dict[str, bool] = {}
    for row in rows:
        cases[row.case_id] = cases.get(row.case_id, False) or any(face.re_operated for face in row.faces)
    return share("second operation", "cases with another operation, of all", sum(cases.values()), len(cases))


def _spreads(rows: Sequence[SpecimenRow]) -> tuple[Spread, ...]:
    faces = [face for row in rows for face in row.faces]
    return (
        _spread("coverage", "of scanned faces", "%", (_percent(face.coverage) for face in faces)),
        _spread("visualised depth", "of scanned faces", "mm", (face.visualised_depth_mm for face in faces)),
        _scanning(rows),
        _spread(
            "excision to final interpretation",
            "of specimens that were interpreted in real time",
            "min",
            (row.excision_to_final_min for row in rows),
        ),
        _spread(
            "excision to formalin",
            "of specimens with both times",
            "min",
            (row.excision_to_formalin_min for row in rows),
        ),
    )


def _scanning(rows: Iterable[SpecimenRow]) -> Spread:
    minutes = (row.scanning_min for row in rows)
    return _spread("scanning", "of a specimen, first sweep to last", "min", minutes)


def _percent(coverage: float | None) -> float | None:
    return None if coverage is None else 100 * coverage


def _spread(name: str, says: str, unit: str, values: Iterable[float | None]) -> Spread:
    known = sorted(value for value in values if value is not None)
    if not known:
        return Spread(
            name=name, says=says, unit=unit, n=0, lower_quartile=None, median=None, upper_quartile=None
        )
    lower, median, upper = quantiles(known * 2 if len(known) == 1 else known, n=4, method="inclusive")
    return Spread(
        name=name,
        says=says,
        unit=unit,
        n=len(known),
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
    )


def _months(rows: Sequence[SpecimenRow], close_is_positive: bool) -> Iterable[Month]:
    by_month: dict[str, list[SpecimenRow]] = {}
    for row in rows:
        by_month.setdefault(row.opened_on.strftime("%Y-%m"), []).append(row)
    for month, of_month in sorted(by_month.items()):
        faces = [face for row in of_month for face in row.faces]
        against = {one.name: one for one in _against_pathology(faces, "algorithm", close_is_positive)}
        yield Month(
            month=month,
            cases=len({row.case_id for row in of_month}),
            specimens=len(of_month),
            agreement=against["agreement"],
            unanswered=against["no answer"],
            re_operation=_re_operation(of_month),
            scanning=_scanning(of_month),
        )
