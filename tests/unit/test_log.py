"""The log of the daemon: one entry a line, whoever says it, and JSON that any program reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import aiomqtt
import numpy as np
import pytest
import structlog

from octmargin.log import configure_logging, on_stage

IDS = [f"id-{n}" for n in range(40)]
"""More than there are in truth, so that a change has time to fall into the reading of them."""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    on_stage(case=None, **dict.fromkeys(IDS))


def strict(line: str) -> dict[str, Any]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    entry: dict[str, Any] = json.loads(line, parse_constant=refuse)
    return entry


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [strict(line) for line in capsys.readouterr().err.splitlines()]


def test_a_number_that_is_none_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", as_json=True)
    structlog.get_logger().info(
        "face",
        depth_mm=float("nan"),
        of=[np.float32("inf"), np.float64(1.5), np.int64(3)],
        error=ValueError("x"),
    )
    [entry] = entries(capsys)
    assert entry["depth_mm"] is None
    assert entry["of"] == [None, 1.5, 3]
    assert entry["error"] == "ValueError('x')"


def test_what_a_library_says_is_an_entry_like_ours(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", as_json=True)
    on_stage(case="case-7")
    said = "Task exception\nwas never retrieved"
    logging.getLogger("asyncio").error(said, exc_info=OSError("no more files"))
    [entry] = entries(capsys)
    assert (entry["level"], entry["library"], entry["case"]) == ("error", "asyncio", "case-7")
    assert entry["event"] == "Task exception was never retrieved"
    assert entry["error"] == "OSError: no more files"


class Odd:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def a_cycle() -> list[object]:
    inner: list[object] = []
    inner.append(inner)
    return inner


def nested(depth: int) -> list[object]:
    outer: list[object] = []
    for _ in range(depth):
        outer = [outer]
    return outer


ODD = [
    pytest.param("/data/\udcff", "/data/\\udcff", id="a name that is no text"),
    pytest.param(Odd(), "<Odd that cannot be shown>", id="no repr"),
    pytest.param(a_cycle(), "[[...]]", id="a cycle"),
    pytest.param(nested(100_000), "<list that cannot be shown>", id="too deep"),
    pytest.param({"\udcff": 2}, "{'\\udcff': 2}", id="a key that is no text"),
]


@pytest.mark.parametrize(("value", "shown"), ODD)
def test_what_cannot_be_shown_is_told_in_valid_json_and_does_not_end_who_logs_it(
    capsys: pytest.CaptureFixture[str], value: object, shown: str
) -> None:
    configure_logging(level="info", as_json=True)
    structlog.get_logger().info("odd", value=value, count=2**70, share=0.5, none=None)
    [entry] = entries(capsys)
    assert entry["value"] == shown
    assert (entry["event"], entry["level"]) == ("odd", "info")
    assert (entry["count"], entry["share"], entry["none"]) == (2**70, 0.5, None)


@pytest.mark.parametrize("value", [param.values[0] for param in ODD])
def test_what_cannot_be_shown_ends_nobody_in_lines_for_people(
    capsys: pytest.CaptureFixture[str], value: object
) -> None:
    configure_logging(level="info", as_json=False)
    structlog.get_logger().info("odd", value=value)
    [line] = capsys.readouterr().err.splitlines()
    assert "odd" in line


@pytest.mark.parametrize(
    ("message", "arguments", "told"),
    [
        ("got %d bytes", (None,), "got %d bytes (None,)"),
        ("%s and %s", ("one",), "%s and %s ('one',)"),
        ("%s", (Odd(),), "%s <tuple that cannot be shown>"),
    ],
)
def test_a_librarys_malformed_call_is_an_entry_and_does_not_end_its_thread(
    capsys: pytest.CaptureFixture[str], message: str, arguments: tuple[object, ...], told: str
) -> None:
    configure_logging(level="info", as_json=True)
    root = logging.getLogger()
    # pytest's own would fail
    root.handlers[:] = [each for each in root.handlers if type(each).__module__ == "octmargin.log"]
    logging.getLogger("a library").warning(message, *arguments)
    [entry] = entries(capsys)
    assert (entry["event"], entry["library"], entry["level"]) == (told, "a library", "warning")


def test_an_error_of_a_library_that_cannot_be_shown_is_an_entry(capsys: pytest.CaptureFixture[str]) -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    configure_logging(level="info", as_json=True)
    logging.getLogger("a library").error("failed", exc_info=OddError())
    [entry] = entries(capsys)
    assert entry["error"] == "OddError: <OddError that cannot be shown>"


@pytest.mark.parametrize(
    ("level", "told"), [(25, "info"), (35, "warning"), (60, "critical"), (logging.ERROR, "error")]
)
def test_a_librarys_own_level_is_the_one_below_it(
    capsys: pytest.CaptureFixture[str], level: int, told: str
) -> None:
    configure_logging(level="info", as_json=True)
    library = logging.getLogger("lib with levels")
    library.setLevel(1)
    library.log(level, "said")
    library.log(5, "a trace")
    assert [entry["level"] for entry in entries(capsys)] == [told]


async def test_many_messages_on_their_way_are_nothing_to_warn_of(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", as_json=True)
    client = aiomqtt.Client("nowhere")
    with contextlib.ExitStack() as under_way:
        for mid in range(client.pending_calls_threshold + 2):
            under_way.enter_context(client._pending_call(mid, asyncio.Event(), client._pending_publishes))
    assert entries(capsys) == []


def test_the_stage_can_change_while_other_threads_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An entry is of one stage: no id of the last one with those of this, and no thread fails."""
    configure_logging(level="info", as_json=True)
    failed: list[Exception] = []

    def log_on() -> None:
        try:
            for _ in range(1500):
                structlog.get_logger().info("judged")
        except Exception as error:  # noqa: BLE001 - seen below
            failed.append(error)

    threads = [threading.Thread(target=log_on) for _ in range(2)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    on_stage(**dict.fromkeys(IDS, 0))
    try:
        for thread in threads:
            thread.start()
        number = 0
        while any(thread.is_alive() for thread in threads):
            number += 1
            on_stage(**dict.fromkeys(IDS))
            on_stage(**dict.fromkeys(IDS, number))
    finally:
        sys.setswitchinterval(interval_s)
        for thread in threads:
            thread.join()
    assert failed == []
    logged = entries(capsys)
    assert any(IDS[0] in entry for entry in logged)
    for entry in logged:
        of_stage = {name: entry[name] for name in IDS if name in entry}
        assert len(of_stage) in (0, len(IDS))
        assert len(set(of_stage.values())) <= 1
