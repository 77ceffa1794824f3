"""`octmargin dicom queue`: what waits for the hospital's archive, and delivering it."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from octmargin.commands.dicom.common import ConfigFile, load_settings, open_queue
from octmargin.dicom.outgoing import Outgoing, Parcel, State
from octmargin.dicom.settings import DicomSection
from octmargin.words import counted, size

if TYPE_CHECKING:
    from octmargin.dicom.courier import Round

_OPEN = (State.WAITING, State.SENT, State.REFUSED)
_END_S = 60.0


def queue(
    config: ConfigFile,
    deliver: Annotated[bool, typer.Option("--deliver", help="Try everything that waits, once.")] = False,
    forever: Annotated[
        bool, typer.Option("--forever", help="Deliver whatever comes, until Ctrl-C or SIGTERM.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="First let what was refused wait again.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what waits, was refused or is not committed to; exit with 1 where anything is."""
    settings = load_settings(config)
    outgoing = open_queue(settings)
    try:
        if retry:
            typer.echo(f"{counted(outgoing.retry_refused(), 'refused object')} will be tried again")
        if forever:
            _deliver_forever(settings, outgoing)
        elif deliver:
            deliver_once(settings, outgoing)
        is_open = show(outgoing, json_output=json_output)
    finally:
        outgoing.close()
    if is_open:
        sys.exit(1)


def deliver_once(settings: DicomSection, outgoing: Outgoing) -> None:
    """Try everything that waits once, and say what came of it."""
    from octmargin.dicom.courier import Courier  # noqa: PLC0415 - an extra

    tell_round(Courier(settings, outgoing).deliver())


def show(outgoing: Outgoing, *, json_output: bool = False) -> bool:
    """Print what is open, a line for each fate, and how many objects are in each state; whether anything is open."""
    open_ = [parcel for parcel in outgoing.all() if parcel.state in _OPEN]
    counts = {state.value: count for state, count in outgoing.counts().items()}
    if json_output:
        content = {
            "counts": counts,
            "turned_away": outgoing.turned_away,
            "open": [_as_json(parcel) for parcel in open_],
        }
        typer.echo(msgspec.json.encode(content).decode())
        return bool(open_)
    alike: dict[tuple[object, ...], list[Parcel]] = {}
    for parcel in open_:
        fate = (parcel.destination, parcel.action, parcel.state, parcel.tries, parcel.said)
        alike.setdefault(fate, []).append(parcel)
    for parcels in alike.values():
        typer.echo(_line(parcels))
    if len(alike) < len(open_):
        typer.echo("--json of `octmargin dicom queue` names each object")
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    turned_away = f", {outgoing.turned_away} turned away for lack of room" if outgoing.turned_away else ""
    typer.echo(f"{told}{turned_away}")
    return bool(open_)


def tell_round(done: Round) -> None:
    """What came of a round, in words; troubles on standard error."""
    if done.is_busy:
        typer.echo("another process delivers", err=True)
    for fate, count in done.fates.items():
        typer.echo(f"{fate.value}: {counted(count, 'object')}")
    if done.committed:
        typer.echo(f"committed: {counted(done.committed, 'object')}")
    for destination, trouble in done.troubles.items():
        typer.echo(f"{destination}: {trouble}", err=True)


def _deliver_forever(settings: DicomSection, outgoing: Outgoing) -> None:
    from octmargin.dicom.courier import DeliveryThread  # noqa: PLC0415 - an extra

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    thread = DeliveryThread(settings, outgoing, tell_round)
    thread.start()
    typer.echo("delivering")
    stopped.wait()
    if not thread.stop(_END_S):
        typer.echo(f"an object was still under way after {_END_S:g} s; it waits in the queue", err=True)


def _line(parcels: list[Parcel]) -> str:
    """One line for objects of the same fate; their UIDs say little to a person."""
    parcel = parcels[0]
    what = parcel.uid if len(parcels) == 1 else counted(len(parcels), "object")
    said = f": {parcel.said}" if parcel.said else ""
    tries = f" after {counted(parcel.tries, 'try', 'tries')}" if parcel.tries else ""
    return (
        f"{parcel.put_at:%Y-%m-%d %H:%M}  {parcel.destination}  {parcel.action}  {what}  "
        f"{size(sum(one.size_bytes for one in parcels))}  {parcel.state}{tries}{said}"
    )


def _as_json(parcel: Parcel) -> dict[str, object]:
    return {
        "destination": parcel.destination,
        "action": parcel.action,
        "sop_class": parcel.sop_class,
        "uid": parcel.uid,
        "bytes": parcel.size_bytes,
        "state": parcel.state,
        "tries": parcel.tries,
        "said": parcel.said,
        "put_at": parcel.put_at,
    }
