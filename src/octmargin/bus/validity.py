"""How long what was said stays true."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from octmargin.bus.connection import Seconds
from octmargin.bus.messages import Alarm, Message
from octmargin.bus.topics import Kind


class Validity(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds for which a message stays valid.

    Flags, maps and verdicts age from the moment of acquisition, the others from that of publication.
    """

    flag_s: Seconds = 10.0
    result_s: Seconds = 1800.0
    health_s: Seconds = 5.0
    standing_s: Seconds = 86_400.0
    """Description, case, decisions and active alarm: true until replaced, so this is only an upper bound."""
    cleared_alarm_s: Seconds = 60.0

    def until(self, kind: Kind, message: Message, now: datetime) -> datetime:
        """When `message`, published `now`, ceases to be valid."""
        if kind in (Kind.FLAG, Kind.MAP, Kind.VERDICT):
            seconds = self.flag_s if kind is Kind.FLAG else self.result_s
            return min(message.acquired_at, now) + timedelta(seconds=seconds)
        if kind is Kind.HEALTH:
            return now + timedelta(seconds=self.health_s)
        cleared = isinstance(message, Alarm) and not message.active
        return now + timedelta(seconds=self.cleared_alarm_s if cleared else self.standing_s)
