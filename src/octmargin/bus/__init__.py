"""MQTT: topics, messages, publisher, subscriber and embedded broker."""

from octmargin.bus.broker import EmbeddedBroker
from octmargin.bus.connection import BrokerSettings, TlsSettings, check_credentials
from octmargin.bus.decisions import Decision, DecisionMessage, Mark
from octmargin.bus.events import Event, VerdictReceived
from octmargin.bus.messages import (
    MOST_KEY_VIEWS,
    CalibrationDescription,
    CaseMessage,
    ConsoleDescription,
    Description,
    FlagMessage,
    FrameCounts,
    Health,
    KeyView,
    LatencyMs,
    MapMessage,
    ModelDescription,
    RecordingCounts,
    ScanDescription,
    Specimen,
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
    "MOST_KEY_VIEWS",
    "BrokerSettings",
    "CalibrationDescription",
    "CaseMessage",
    "ConsoleDescription",
    "Decision",
    "DecisionMessage",
    "Description",
    "EmbeddedBroker",
    "Event",
    "FlagMessage",
    "FrameCounts",
    "Health",
    "KeyView",
    "LatencyMs",
    "MapMessage",
    "Mark",
    "ModelDescription",
    "OutboxStore",
    "Publisher",
    "RecordingCounts",
    "ScanDescription",
    "Specimen",
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
