"""What a subscriber may believe, told event by event."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octmargin.bus.events import (
    AlarmReceived,
    CaseChanged,
    Cleared,
    Connected,
    ConnectionLost,
    DecisionReceived,
    Described,
    Event,
    FlagReceived,
    HealthReceived,
    Malformed,
    MapReceived,
    StateChanged,
    VerdictReceived,
)
from octmargin.bus.flag_stream import FlagStream
from octmargin.bus.messages import Message
from octmargin.bus.tally import Tally
from octmargin.bus.topics import Address, Kind

from .examples import NOON, alarm, case, decision, description, face_map, flag, health, verdict

RUN = "this-run"
VERDICT = Address(Kind.VERDICT, "superior")


def at(seconds: float = 0.0) -> int:
    """Nanoseconds of the Unix epoch, `seconds` after noon."""
    return (int(NOON.timestamp() * 1e6) + round(seconds * 1e6)) * 1000


def noon(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def heard(kind: type[Event], message: Message | None = None, *, seconds: float = 0.0, **fields: Any) -> Event:
    """Event of a message that was published when it was received, and holds for a minute."""
    if message is not None:
        stamps = {"session": RUN, "published_at": noon(seconds), "valid_until": noon(seconds + 60)}
        fields["message"] = msgspec.structs.replace(message, **(stamps | fields.pop("stamps", {})))
    if kind not in (Connected, ConnectionLost):
        fields.setdefault("retained", False)
    return kind(received_at_ns=at(seconds), **fields)


def listening(*more: Event) -> Tally:
    """A subscriber that has heard everything it needs to believe a verdict on the superior face."""
    tally = Tally()
    for event in (
        heard(Connected),
        heard(StateChanged, state="ready", retained=True),
        heard(Described, description(RUN), retained=True),
        heard(CaseChanged, case(), retained=True),
        heard(VerdictReceived, verdict(word="nothing_suspicious"), retained=True),
        heard(MapReceived, face_map(), retained=True),
        heard(HealthReceived, health()),
        *more,
    ):
        tally.add(event)
    return tally


def test_a_verdict_is_good_while_everything_speaks_for_it() -> None:
    tally = listening()
    assert tally.stale_reason(noon(1), "superior") is None
    assert not tally.is_stale(noon(1), "superior")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (heard(ConnectionLost, reason="no MQTT broker"), "no MQTT broker"),
        (heard(Connected), "nobody publishes"),
        (heard(StateChanged, state="init"), "state is init"),
        (heard(StateChanged, state="alert"), "state is alert"),
        (heard(StateChanged, state="disconnected"), "state is disconnected"),
        (heard(StateChanged, state="lost"), "state is lost"),
        (heard(Cleared, address=Address(Kind.STATE)), "nobody publishes"),
        (heard(Malformed, address=Address(Kind.STATE), reason="?"), "unreadable: ?"),
        (heard(Malformed, address=Address(Kind.CASE), reason="?"), "unreadable: ?"),
        (heard(Malformed, address=Address(Kind.DESCRIPTION), reason="?"), "unreadable: ?"),
        (heard(Malformed, address=Address(Kind.HEALTH), reason="schema 2", schema=2), "unreadable: schema 2"),
        (heard(Malformed, address=Address(Kind.FLAG), reason="schema 2", schema=2), "unreadable: schema 2"),
        (heard(Malformed, address=VERDICT, reason="no coverage"), "unreadable: no coverage"),
        (heard(Described, description("next-run"), stamps={"session": "next-run"}), "from an earlier run"),
        (heard(HealthReceived, health(), stamps={"session": "next-run"}), "from an earlier run"),
        (heard(Cleared, address=Address(Kind.CASE)), "not known which specimen"),
        (heard(CaseChanged, case(specimen_id="S-2")), "of another specimen"),
        (heard(CaseChanged, case(case_id="C-8")), "of another specimen"),
        (heard(MapReceived, face_map(specimen_id="S-2")), "of another specimen"),
        (heard(CaseChanged, case(sweeps={"superior": 4})), "being scanned anew"),
        (heard(VerdictReceived, verdict(sweep=2)), "being scanned anew"),
        (heard(MapReceived, face_map(sweep=2)), "being scanned anew"),
        (heard(VerdictReceived, verdict(), stamps={"valid_until": noon(0.5)}), "expired"),
        (heard(MapReceived, face_map(), stamps={"valid_until": noon(0.5)}), "expired"),
    ],
)  # fmt: skip
def test_a_verdict_is_stale_as_soon_as_anything_speaks_against_it(event: Event, reason: str) -> None:
    why = listening(event).stale_reason(noon(1), "superior")
    assert why is not None
    assert reason in why


def test_a_rescan_of_another_face_speaks_against_nothing() -> None:
    assert listening(heard(CaseChanged, case(sweeps={"medial": 4}))).stale_reason(noon(1), "superior") is None


def test_the_first_that_is_said_of_the_newer_sweep_is_good_again() -> None:
    newer = [heard(VerdictReceived, verdict(sweep=4)), heard(MapReceived, face_map(sweep=4))]
    anew = heard(CaseChanged, case(sweeps={"superior": 4}))
    assert listening(anew, newer[0]).stale_reason(noon(1), "superior") == "being scanned anew"
    assert listening(anew, *newer).stale_reason(noon(1), "superior") is None


def test_a_verdict_expires_at_its_valid_until_and_not_before() -> None:
    tally = listening(heard(HealthReceived, health(), seconds=60))
    assert not tally.is_stale(noon(60), "superior")
    assert tally.is_stale(noon(60.000001), "superior")


def test_a_silent_daemon_is_gone_whatever_the_broker_remembers() -> None:
    tally = listening()
    assert not tally.is_stale(noon(5))
    assert tally.stale_reason(noon(5.6)) == "silent for 6 s"
    tally.add(heard(FlagReceived, flag(), seconds=5.6))
    assert not tally.is_stale(noon(5.6))


def test_retained_messages_are_no_sign_of_life() -> None:
    tally = Tally()
    assert tally.stale_reason(NOON) == "not connected yet"
    tally.add(heard(Connected))
    tally.add(heard(StateChanged, state="ready", retained=True))
    tally.add(heard(Described, description(RUN), retained=True))
    tally.add(heard(VerdictReceived, verdict(), retained=True))
    assert tally.stale_reason(NOON, "superior") == "no sign of life yet"


def test_what_was_taken_back_while_the_subscriber_was_away_does_not_survive() -> None:
    tally = listening(heard(ConnectionLost, reason="gone"), heard(Connected))
    assert tally.faces == {}
    assert tally.case is None


def test_a_face_without_result_is_not_good() -> None:
    assert listening().stale_reason(NOON, "medial") == "no result"
    tally = listening(heard(Cleared, address=VERDICT), heard(Cleared, address=Address(Kind.MAP, "superior")))
    assert tally.stale_reason(NOON, "superior") == "no result"


def test_a_readable_verdict_heals_an_unreadable_one() -> None:
    tally = listening(heard(Malformed, address=VERDICT, reason="?"), heard(VerdictReceived, verdict()))
    assert not tally.is_stale(NOON, "superior")
    assert tally.malformed == 1


def test_what_readers_said_stands_beside_the_verdict_and_changes_nothing_of_it() -> None:
    said = heard(DecisionReceived, decision())
    tally = listening(said)
    assert tally.decision_of("superior") is said.message
    assert tally.decision_of("inferior") is None
    assert tally.faces["superior"].verdict is not None
    assert not tally.is_stale(noon(1), "superior")
    tally.add(heard(Malformed, address=Address(Kind.DECISION, "superior"), reason="?"))
    assert tally.decision_of("superior") is None
    assert not tally.is_stale(noon(1), "superior")


@pytest.mark.parametrize(
    "event",
    [
        heard(Cleared, address=Address(Kind.DECISION, "superior")),
        heard(CaseChanged, case(specimen_id="S-2")),
        heard(CaseChanged, case(case_id="C-8")),
        heard(Cleared, address=Address(Kind.CASE)),
        heard(Described, description("next-run"), stamps={"session": "next-run"}),
    ],
)  # fmt: skip
def test_what_readers_said_of_another_specimen_or_run_is_not_said_of_this_one(event: Event) -> None:
    assert listening(heard(DecisionReceived, decision()), event).decision_of("superior") is None


@pytest.mark.parametrize("kind", [Kind.FLAG, Kind.HEALTH])
def test_a_broken_sign_of_life_is_made_good_by_the_next_and_a_newer_one_stands(kind: Kind) -> None:
    """One that was damaged says nothing of what is shown; one of a newer daemon may mean anything."""
    assert not listening(heard(Malformed, address=Address(kind), reason="?")).is_stale(NOON, "superior")
    newer = heard(Malformed, address=Address(kind), reason="schema 2", schema=2)
    sound = heard(FlagReceived, flag()) if kind is Kind.FLAG else heard(HealthReceived, health())
    assert listening(newer).stale_reason(NOON) == "unreadable: schema 2"
    assert not listening(newer, sound).is_stale(NOON, "superior")


@pytest.mark.parametrize("kind", [Kind.STATE, Kind.DESCRIPTION, Kind.CASE])
def test_what_cannot_be_read_of_the_whole_is_made_good_by_what_can_be(kind: Kind) -> None:
    sound = {
        Kind.STATE: heard(StateChanged, state="ready"),
        Kind.DESCRIPTION: heard(Described, description("run-1")),
        Kind.CASE: heard(CaseChanged, case()),
    }
    broken = heard(Malformed, address=Address(kind), reason="?")
    assert listening(broken).is_stale(NOON, "superior")
    assert not listening(broken, sound[kind]).is_stale(NOON, "superior")
    assert listening(broken, heard(Connected)).stale_reason(NOON) == "nobody publishes for this console"


def test_a_readable_map_does_not_heal_an_unreadable_verdict() -> None:
    tally = listening(heard(Malformed, address=VERDICT, reason="?"), heard(MapReceived, face_map()))
    assert tally.stale_reason(NOON, "superior") == "unreadable: ?"


def test_alarms_stand_until_they_are_over() -> None:
    tally = listening(heard(AlarmReceived, alarm("a")), heard(AlarmReceived, alarm("b")))
    assert set(tally.alarms) == {"a", "b"}
    tally.add(heard(AlarmReceived, alarm("a", active=False)))
    tally.add(heard(Cleared, address=Address(Kind.ALARM, "b")))
    assert tally.alarms == {}


def test_anything_synthetic_makes_the_whole_synthetic() -> None:
    real = {"synthetic": False}
    tally = Tally()
    assert not tally.synthetic
    tally.add(heard(Described, description(RUN, **real)))
    tally.add(heard(VerdictReceived, verdict(**real)))
    assert not tally.synthetic
    tally.add(heard(VerdictReceived, verdict("medial")))
    assert tally.synthetic


def test_flags_are_counted_once_per_session() -> None:
    tally = listening(
        *(heard(FlagReceived, flag(i, blocks=32), stamps={"sequence": i}) for i in (4, 5, 5, 6, 9, 7))
    )
    assert (tally.flags.messages, tally.flags.blocks) == (5, 160)
    assert (tally.flags.duplicates, tally.flags.gaps) == (1, 1)
    tally.add(heard(Described, description("next-run"), stamps={"session": "next-run"}))
    tally.add(heard(FlagReceived, flag(0), stamps={"sequence": 0, "session": "next-run"}))
    assert (tally.flags.messages, tally.flags.duplicates, tally.flags.gaps) == (1, 0, 0)


@given(st.lists(st.integers(0, 60), min_size=1))
def test_duplicates_and_gaps_are_those_of_the_sequence_numbers(sequences: list[int]) -> None:
    stream = FlagStream()
    for sequence in sequences:
        stream.add(msgspec.structs.replace(flag(), sequence=sequence), at())
    since_the_first = {number for number in sequences if number >= sequences[0]}
    assert stream.messages == len(since_the_first)
    assert stream.duplicates == len(sequences) - len(since_the_first)
    assert stream.gaps == max(sequences) - sequences[0] + 1 - len(since_the_first)


def test_a_huge_gap_is_counted_without_being_remembered_number_by_number() -> None:
    stream = FlagStream()
    for sequence in (0, 10**12, 2 * 10**12):
        stream.add(msgspec.structs.replace(flag(), sequence=sequence), at())
    assert stream.gaps == 2 * 10**12 - 2


@given(st.lists(st.integers(-5_000, 5_000_000), min_size=1, max_size=300))
def test_latency_quantiles_are_exact(microseconds: list[int]) -> None:
    stream = FlagStream()
    for sequence, late in enumerate(microseconds):
        message = msgspec.structs.replace(flag(received_at_ns=at()), sequence=sequence)
        stream.add(message, at() + late * 1000)
    latency = stream.latency_ms()
    assert latency is not None
    expected = np.quantile(np.array(microseconds) / 1e3, [0.5, 0.99], method="inverted_cdf")
    assert [latency.p50, latency.p99] == pytest.approx(expected)


def test_the_rate_is_that_of_the_last_two_seconds() -> None:
    stream = FlagStream()
    assert stream.latency_ms() is None
    for i in range(50):
        stream.add(msgspec.structs.replace(flag(blocks=32), sequence=i), at(i * 0.1))
    assert stream.rate_blocks_per_s(at(4.9)) == pytest.approx(320)
    assert stream.rate_blocks_per_s(at(60)) == 0


def test_what_an_earlier_run_says_late_is_counted_and_replaces_nothing() -> None:
    late = {"session": "earlier-run", "late": True}
    tally = listening(
        heard(FlagReceived, flag(0)),
        heard(VerdictReceived, verdict(word="suspicious"), stamps=late),
        heard(FlagReceived, flag(8), stamps=late),
        heard(FlagReceived, flag(1, sequence=1)),
    )
    assert tally.late == 2
    shown = tally.faces["superior"].verdict
    assert shown is not None
    assert (shown.session, shown.verdict) == (RUN, "nothing_suspicious")
    assert (tally.flags.messages, tally.flags.gaps) == (2, 0)
    assert not tally.is_stale(noon(1), "superior")


def test_a_verdict_of_a_new_run_counts_also_before_the_run_describes_itself() -> None:
    new = {"session": "next-run"}
    tally = listening(
        heard(VerdictReceived, verdict(word="suspicious"), stamps=new),
        heard(Described, description("next-run"), stamps=new),
    )
    shown = tally.faces["superior"].verdict
    assert shown is not None
    assert (shown.verdict, tally.late) == ("suspicious", 0)


def test_what_a_broker_kept_of_an_earlier_run_is_history() -> None:
    new = {"session": "next-run"}
    tally = listening(
        heard(Described, description("next-run"), stamps=new),
        heard(VerdictReceived, verdict(word="nothing_suspicious")),
        heard(FlagReceived, flag(9)),
    )
    assert (tally.late, tally.flags.messages) == (2, 0)


def test_a_run_whose_broker_remembered_an_earlier_one_is_the_present_again() -> None:
    new = {"session": "next-run"}
    tally = listening(
        heard(Described, description("next-run"), stamps=new),
        heard(Connected),
        heard(Described, description(RUN), retained=True),
        heard(Described, description("next-run"), stamps=new),
        heard(FlagReceived, flag(1), stamps=new),
    )
    assert (tally.late, tally.flags.messages) == (0, 1)
