"""MQTT: topics, messages, publisher, subscriber and embedded broker."""

from octmargin.bus.broker import EmbeddedBroker
from octmargin.bus.connection import BrokerSettings, TlsSettings, check_credentials
from octmargin.bus.events import Event, VerdictReceived
from octmargin.bus.messages import (
    CalibrationDescription,
    CaseMessage,
    ConsoleDescription,
    Description,
    FlagMessage,
    FrameCounts,
    Health,
    LatencyMs,
    MapMessage,
    ModelDescription,
    RecordingCounts,
    ScanDescription,
    State,
    StateCounts,
    VerdictMessage,
    count_states,
    grid_letters,
    rounded,
    utc_from_ns,
)
from octmargin.bus.publisher import Publisher, utc_now
from octmargin.bus.store import OutboxStore
from octmargin.bus.subscriber import Subscriber
from octmargin.bus.tally import Tally
from octmargin.bus.topics import Topics

__all__ = [
    "BrokerSettings",
    "CalibrationDescription",
    "CaseMessage",
    "ConsoleDescription",
    "Description",
    "EmbeddedBroker",
    "Event",
    "FlagMessage",
    "FrameCounts",
    "Health",
    "LatencyMs",
    "MapMessage",
    "ModelDescription",
    "OutboxStore",
    "Publisher",
    "RecordingCounts",
    "ScanDescription",
    "State",
    "StateCounts",
    "Subscriber",
    "Tally",
    "TlsSettings",
    "Topics",
    "VerdictMessage",
    "VerdictReceived",
    "check_credentials",
    "count_states",
    "grid_letters",
    "rounded",
    "utc_from_ns",
    "utc_now",
]
