"""Brings what waits in the queue to where it is to go, in rounds; each destination has its own troubles and pace."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from octmargin.dicom.association import associated
from octmargin.dicom.commitment import ask_for_commitment
from octmargin.dicom.outgoing import Destination, Outgoing, Parcel
from octmargin.dicom.settings import DicomSection, Peer
from octmargin.dicom.storing import Delivery, Fate, context_of, perform, store
from octmargin.dicom.stow import StowClient
from octmargin.errors import ConfigError, OctMarginError

_AT_ONCE = 100
"""Objects of one association: a presentation context for each of their classes fits."""
_IDLE_S = 5.0
"""How often the thread looks whether another process put something."""


@dataclass(slots=True)
class Round:
    """What became of one round: attempts by fate, objects that were committed, and who could not be reached."""

    fates: Counter[Fate] = field(default_factory=Counter)
    committed: int = 0
    troubles: dict[Destination, str] = field(default_factory=dict)
    is_busy: bool = False
    """Another process delivers: nothing was done."""


class Courier:
    """Delivers from `outgoing`; not for several threads at once."""

    def __init__(self, settings: DicomSection, outgoing: Outgoing) -> None:
        self._settings = settings
        self._outgoing = outgoing

    def deliver(self, destinations: Iterable[Destination] = tuple(Destination)) -> Round:
        """One round: everything that waits for `destinations` is tried once; what cannot be reached is told."""
        done = Round()
        with self._outgoing.delivering() as is_ours:
            if not is_ours:
                done.is_busy = True
                return done
            for destination in destinations:
                try:
                    self._deliver_to(destination, done)
                except OctMarginError as error:
                    done.troubles[destination] = str(error)
                except Exception as error:  # noqa: BLE001 - what a library raises must not end the deliveries of all others
                    done.troubles[destination] = (
                        f"{destination}: {type(error).__name__}: {error}; nothing is lost"
                    )
        return done

    def _deliver_to(self, destination: Destination, done: Round) -> None:
        tried: set[int] = set()
        while batch := [
            parcel
            for parcel in self._outgoing.waiting(destination, _AT_ONCE + len(tried))
            if parcel.number not in tried
        ][:_AT_ONCE]:
            tried |= {parcel.number for parcel in batch}
            self._send(destination, batch, done)
        if destination is Destination.ARCHIVE:
            self._commit(done)

    def _is_sound(self, parcel: Parcel, done: Round) -> bool:
        """Whether its file is what was put; what is not is refused, for it would be no better the next time."""
        trouble = self._outgoing.trouble_of(parcel)
        if trouble:
            done.fates[Fate.REFUSED] += 1
            self._outgoing.note_refused(parcel, trouble)
        return not trouble

    def _send(self, destination: Destination, batch: Sequence[Parcel], done: Round) -> None:
        match destination:
            case Destination.WEB:
                if self._settings.web is None:
                    raise _not_configured(destination)
                with StowClient(self._settings, self._settings.web) as client:
                    self._send_each(batch, client.store, lambda: True, done)
            case Destination.ARCHIVE:
                peer = _known(self._settings.archive, destination)
                contexts = {context_of(parcel) for parcel in batch}
                with associated(self._settings, peer, contexts) as association:
                    self._send_each(
                        batch,
                        lambda parcel: store(association, parcel),
                        lambda: association.is_established,
                        done,
                    )
            case Destination.PERFORMED_STEP:
                peer = _known(self._settings.performed_step, destination)
                with associated(self._settings, peer, {parcel.sop_class for parcel in batch}) as association:
                    self._send_each(
                        batch,
                        lambda parcel: perform(association, parcel),
                        lambda: association.is_established,
                        done,
                    )

    def _send_each(
        self,
        batch: Sequence[Parcel],
        send: Callable[[Parcel], Delivery],
        is_connected: Callable[[], bool],
        done: Round,
    ) -> None:
        for parcel in batch:
            if not is_connected():
                # An earlier object ended the association; it goes behind the others in the next round.
                return
            if not self._is_sound(parcel, done):
                continue
            delivery = send(parcel)
            done.fates[delivery.fate] += 1
            if delivery.fate is Fate.FAILED:
                done.troubles[parcel.destination] = f"{parcel.uid}: was not delivered: {delivery.said}"
            self._note(parcel, delivery)

    def _note(self, parcel: Parcel, delivery: Delivery) -> None:
        match delivery.fate:
            case Fate.DELIVERED if parcel.destination is Destination.ARCHIVE and self._settings.commitment:
                self._outgoing.note_sent(parcel, delivery.said)
            case Fate.DELIVERED:
                self._outgoing.note_delivered(parcel, delivery.said)
            case Fate.FAILED:
                self._outgoing.note_failed(parcel, delivery.said)
            case Fate.REFUSED:
                self._outgoing.note_refused(parcel, delivery.said)

    def _commit(self, done: Round) -> None:
        sent = self._outgoing.uncommitted()
        if not sent:
            return
        if self._settings.commitment is None:
            # It was asked for when they were sent, and is no more.
            for parcel in sent:
                self._outgoing.note_delivered(parcel, parcel.said)
            return
        answer = ask_for_commitment(self._settings, sent)
        if answer is None:
            done.troubles[Destination.ARCHIVE] = (
                f"{self._settings.archive}: did not answer within {self._settings.commitment.wait_s:g} s for what it "
                "commits itself to; check that it knows where dicom.commitment listens"
            )
            return
        for parcel in sent:
            if parcel.uid in answer.uids:
                self._outgoing.note_committed(parcel)
                done.committed += 1
                continue
            reason = answer.refused.get(parcel.uid)
            if reason is not None:
                # It says that it does not have what it took: it is sent again.
                self._outgoing.note_failed(parcel, f"not committed to, {reason}")
            said = "says nothing of it" if reason is None else reason
            done.troubles[Destination.ARCHIVE] = (
                f"{self._settings.archive}: does not commit itself to {parcel.uid}: {said}"
            )


def _known(peer: Peer | None, destination: Destination) -> Peer:
    if peer is None:
        raise _not_configured(destination)
    return peer


def _not_configured(destination: Destination) -> ConfigError:
    return ConfigError(f"objects wait for dicom.{destination}, which is not configured; add its table")


class DeliveryThread:
    """Delivers in a thread of its own until it is stopped; whoever put something wakes it.

    `on_round` is told of each round that did anything, in that thread.
    """

    def __init__(
        self, settings: DicomSection, outgoing: Outgoing, on_round: Callable[[Round], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._courier = Courier(settings, outgoing)
        self._on_round = on_round
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._failures: Counter[Destination] = Counter()
        self._due_s = dict.fromkeys(Destination, 0.0)
        # Like everything that waits for others, it is left alone when the process ends.
        self._thread = threading.Thread(target=self._work, name="octmargin dicom", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something was put: look now, also at destinations that are waited for."""
        self._due_s = dict.fromkeys(Destination, 0.0)
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """Let the object that is under way arrive and end; False where it takes longer than `timeout_s`."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            now_s = time.monotonic()
            due = [destination for destination in Destination if self._due_s[destination] <= now_s]
            try:
                done = self._courier.deliver(due)
            except OctMarginError as error:  # the queue itself
                done = Round(troubles=dict.fromkeys(due, str(error)))
            for destination in due:
                self._plan(destination, destination in done.troubles or done.is_busy)
            if done.fates or done.committed or done.troubles:
                with suppress(Exception):  # whoever is told must not end the deliveries
                    self._on_round(done)
            self._wake.wait(_IDLE_S if not self._failures else min(_IDLE_S, self._next_s()))

    def _plan(self, destination: Destination, is_in_trouble: bool) -> None:
        if not is_in_trouble:
            self._failures.pop(destination, None)
            self._due_s[destination] = 0.0
            return
        pause_s = self._settings.backoff_s(self._failures[destination])
        self._failures[destination] += 1
        self._due_s[destination] = time.monotonic() + pause_s

    def _next_s(self) -> float:
        return max(0.01, min(self._due_s[one] for one in self._failures) - time.monotonic())
