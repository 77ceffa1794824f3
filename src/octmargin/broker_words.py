"""What the log says of the broker: at the start whether it is there, at the end what it did not get."""

from __future__ import annotations

import structlog

from octmargin.bus import BrokerSettings, Publisher

log = structlog.get_logger()


def say_broker(publisher: Publisher, settings: BrokerSettings) -> None:
    """Whether it is reached, and what the outbox holds."""
    if publisher.connected:
        log.info("connected to the broker", host=settings.host, port=settings.port)
    else:
        log.warning("no broker yet; what is said waits", reason=publisher.last_failure)
    store = publisher.store
    if store is not None:
        log.info(
            "outbox on disk", path=str(store.path), of_earlier_runs=store.left, unreadable=store.unreadable
        )
        if store.foreign:
            log.warning("the outbox holds messages of another console, which stay there", count=store.foreign)


def say_what_waits(publisher: Publisher) -> None:
    """The last word: what the broker did not get is on disk, for the next run, or lost."""
    if publisher.answers_given_up:
        # Who gave them asks again, with the same id.
        log.warning("answers to commands did not reach the broker", count=publisher.answers_given_up)
    if publisher.store is None:
        if publisher.unsaid:
            remedy = "broker.outbox_file would keep them for the next run"
            log.error(
                "flags and verdicts are lost: the broker did not get them",
                count=publisher.unsaid,
                remedy=remedy,
            )
        return
    store, left = publisher.store, publisher.left_on_disk
    if left is None:
        log.error("the disk of the outbox does not answer; what waits may be lost", path=str(store.path))
    elif left:
        log.warning("messages wait in the outbox for the next run", count=left, path=str(store.path))
    if store.unsaved:
        log.error(
            "messages are lost: the outbox could not be written",
            count=store.unsaved,
            reason=store.failure,
        )
