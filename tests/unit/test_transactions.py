"""What is written in a transaction is there whole, or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from octmargin.transactions import transaction


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    opened.execute("CREATE TABLE words (word TEXT)")
    yield opened
    opened.close()


def words(connection: sqlite3.Connection) -> list[str]:
    return [word for (word,) in connection.execute("SELECT word FROM words")]


def test_what_went_well_is_kept(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        connection.execute("INSERT INTO words VALUES ('a'), ('b')")
    assert not connection.in_transaction
    assert words(connection) == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_an_error_ended_leaves_nothing(
    connection: sqlite3.Connection, error: type[BaseException]
) -> None:
    def write_and_fail() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO words VALUES ('a')")
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert not connection.in_transaction
    assert words(connection) == []
