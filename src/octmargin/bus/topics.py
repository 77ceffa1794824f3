"""Where things are on the bus: `octmargin/1/<site>/<console>/...`, and how each of them is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from octmargin.errors import ConfigError

ROOT = "octmargin/1"
"""First two levels of every topic; the number changes when old subscribers could misread a message."""

_MAX_NAME_CHARS = 64
_FORBIDDEN = "/+#$"


class Kind(Enum):
    """What a topic of the console's tree carries; the value is its first level below the console."""

    STATE = "$state"
    DESCRIPTION = "$description"
    CASE = "case"
    FLAG = "flag"
    MAP = "map"
    VERDICT = "verdict"
    DECISION = "decision"
    HEALTH = "health"
    ALARM = "alarm"

    @property
    def named(self) -> bool:
        """True where one more level names the face or the alarm."""
        return self in (Kind.MAP, Kind.VERDICT, Kind.DECISION, Kind.ALARM)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a kind is published: quality of service, retained or not, with MQTT 5 message expiry or not."""

    qos: int
    retain: bool
    expires: bool
    every_one_counts: bool = False
    """True where each message is wanted; False where a newer one replaces one that still waits."""


DELIVERY: dict[Kind, Delivery] = {
    Kind.STATE: Delivery(qos=1, retain=True, expires=False),
    Kind.DESCRIPTION: Delivery(qos=1, retain=True, expires=False),
    Kind.CASE: Delivery(qos=1, retain=True, expires=False),
    Kind.FLAG: Delivery(qos=1, retain=False, expires=True, every_one_counts=True),
    Kind.MAP: Delivery(qos=1, retain=True, expires=True),
    Kind.VERDICT: Delivery(qos=1, retain=True, expires=True),
    # What a person said does not become untrue with time; it tells of which sweep it is.
    Kind.DECISION: Delivery(qos=1, retain=True, expires=False),
    # Never retained, so that it is always a sign of life and never a memory of one; acknowledged, for the last one of a
    # run has the counts that everything is held against.
    Kind.HEALTH: Delivery(qos=1, retain=False, expires=True),
    Kind.ALARM: Delivery(qos=1, retain=True, expires=True),
}


def require_name(what: str, name: str) -> str:
    """Return `name` if it can be one level of a topic; else raise `ConfigError` that says why not."""
    reason = why_not_a_name(name)
    if reason:
        raise ConfigError(
            f"{what} {name!r} cannot be part of an MQTT topic: {reason}; use letters, digits, '-', '_' or '.'"
        )
    return name


def why_not_a_name(name: str) -> str:
    """Why `name` cannot be one level of a topic; empty where it can."""
    if not name:
        return "it is empty"
    if len(name) > _MAX_NAME_CHARS:
        return f"it has {len(name)} characters, more than {_MAX_NAME_CHARS}"
    for character in name:
        if character in _FORBIDDEN:
            return f"it contains {character!r}"
        if not character.isprintable():
            return f"it contains the unprintable character {character!r}"
    return ""


@dataclass(frozen=True, slots=True)
class Address:
    """What a topic of a console's tree means: its kind and, for a map, verdict, decision or alarm, the name."""

    kind: Kind
    name: str = ""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one console. `site` and `console` are one topic level each, else `ConfigError`."""

    site: str
    console: str

    def __post_init__(self) -> None:
        require_name("site", self.site)
        require_name("console", self.console)

    @property
    def base(self) -> str:
        """Common prefix of the console's topics, without a slash at the end."""
        return f"{ROOT}/{self.site}/{self.console}"

    @property
    def everything(self) -> str:
        """Filter for the whole tree, commands and replies among it."""
        return f"{self.base}/#"

    @property
    def shown(self) -> tuple[str, ...]:
        """Filters for everything that is to be shown, and nothing that is between a display and the daemon."""
        return f"{self.base}/+", f"{self.base}/+/+"

    @property
    def state(self) -> str:
        """`init`, `ready`, `alert`, `disconnected` or `lost`, bare."""
        return self.of(Kind.STATE)

    @property
    def description(self) -> str:
        """Who publishes: software, model, calibration, console."""
        return self.of(Kind.DESCRIPTION)

    @property
    def case(self) -> str:
        """The case and specimen that is being scanned, by opaque identifiers."""
        return self.of(Kind.CASE)

    @property
    def flag(self) -> str:
        """One message per frame with the flags of its blocks."""
        return self.of(Kind.FLAG)

    @property
    def health(self) -> str:
        """Counters and latencies, twice a second."""
        return self.of(Kind.HEALTH)

    def map(self, face: str) -> str:
        """En-face map of a face."""
        return self.of(Kind.MAP, face)

    def verdict(self, face: str) -> str:
        """Verdict on a face."""
        return self.of(Kind.VERDICT, face)

    def decision(self, face: str) -> str:
        """What readers said of a face."""
        return self.of(Kind.DECISION, face)

    def alarm(self, alarm_id: str) -> str:
        """One technical fault."""
        return self.of(Kind.ALARM, alarm_id)

    def of(self, kind: Kind, name: str = "") -> str:
        """Topic of a kind; `name` is the face or the alarm for the kinds that have one."""
        if not kind.named:
            return f"{self.base}/{kind.value}"
        return f"{self.base}/{kind.value}/{require_name('alarm' if kind is Kind.ALARM else 'face', name)}"

    def parse(self, topic: str) -> Address | None:
        """Meaning of a topic; None where it is another console's, or one that this version does not know."""
        prefix = f"{self.base}/"
        if not topic.startswith(prefix):
            return None
        head, slash, name = topic[len(prefix) :].partition("/")
        try:
            kind = Kind(head)
        except ValueError:
            return None
        if kind.named != bool(slash) or (kind.named and why_not_a_name(name)):
            return None
        return Address(kind, name)
