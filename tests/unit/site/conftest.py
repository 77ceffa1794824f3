"""Brokers that were prepared for two sites, run by Debian's mosquitto with the files as they were written."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.ports import free_port
from tests.unit.bus.conftest import mosquitto_path

from octmargin.bus.connection import BrokerSettings
from octmargin.bus.rights import Role
from octmargin.site.prepare import Report, Request, prepare
from octmargin.site.settings import Auth
from octmargin.site.users import User

HOST = "127.0.0.1"

USERS = {
    "or-1": User("north", Role.CONSOLE, "or-1"),
    "or-3": User("north", Role.CONSOLE, "or-3"),
    "anna": User("north", Role.OPERATOR, "anna"),
    "otto": User("north", Role.OPERATOR, "otto"),
    "rita": User("north", Role.READER, "rita"),
    "wall": User("north", Role.VIEWER, "wall"),
    "store": User("north", Role.ARCHIVE, "store"),
    # A console of the same name, and users of the same names, at another site.
    "s-or-1": User("south", Role.CONSOLE, "or-1"),
    "s-anna": User("south", Role.OPERATOR, "anna"),
    "s-rita": User("south", Role.READER, "rita"),
    "s-wall": User("south", Role.VIEWER, "wall"),
    "s-store": User("south", Role.ARCHIVE, "store"),
}
"""Whoever appears in these tests."""


@dataclass
class Prepared:
    """The folder of a broker, and how to reach it once it runs."""

    folder: Path
    port: int
    websocket_port: int

    def client_folder(self, user: User) -> Path:
        return self.folder / "clients" / user.site / f"{user.role}-{user.name}"

    def settings(self, user: User, **changes: Any) -> BrokerSettings:
        """What the user's own `broker.toml` says, with the files where they were written."""
        folder = self.client_folder(user)
        text = (folder / "broker.toml").read_text().replace("/etc/octmargin", str(folder))
        settings = msgspec.convert(msgspec.toml.decode(text)["broker"], BrokerSettings)
        return msgspec.structs.replace(
            settings, **{"reconnect_min_s": 0.05, "reconnect_max_s": 0.2, **changes}
        )

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The broker, with its own configuration; only the user that it runs as is added."""
        configuration = self.folder / "broker" / "run.conf"
        written = (self.folder / "broker" / "mosquitto.conf").read_text()
        configuration.write_text(f"{written}\nuser root\n")
        log = (self.folder / "log").open("wb")
        with (
            log,
            subprocess.Popen([mosquitto_path(), "-c", str(configuration)], stdout=log, stderr=log) as process,
        ):
            try:
                self._wait_until_it_listens(process)
                yield process
            finally:
                process.terminate()
                process.wait(10)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 10
        for port in (self.port, self.websocket_port):
            while True:
                assert process.poll() is None, f"mosquitto ended at once:\n{self.log()}"
                assert time.monotonic() < deadline, "mosquitto does not listen"
                try:
                    socket.create_connection((HOST, port), timeout=1).close()
                except OSError:
                    time.sleep(0.01)  # another process: there is no event to await
                else:
                    break


def prepared(
    folder: Path, auth: Auth = Auth.PASSWORDS, *, now: datetime | None = None, **changes: Any
) -> Prepared:
    """A new folder for all `USERS`."""
    port, websocket_port = free_port(), free_port()
    for site in ("north", "south"):
        users = [user for user in USERS.values() if user.site == site]
        names = {role: tuple(user.name for user in users if user.role is role) for role in Role}
        request = Request(
            folder=folder,
            site=site,
            names=names,
            hosts=(HOST, "localhost"),
            auth=auth,
            port=port,
            websocket_port=websocket_port,
            **changes,
        )
        prepare(request, now or datetime.now(UTC))
    return Prepared(folder, port, websocket_port)


def again(broker: Prepared, *, now: datetime | None = None, **changes: Any) -> Report:
    """Prepare the site `north` of a folder once more."""
    request = Request(folder=broker.folder, **{"site": "north", **changes})
    return prepare(request, now or datetime.now(UTC))


def days_from_now(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session", params=list(Auth))
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """A running broker for two sites; each test that takes it runs with passwords and with certificates."""
    mosquitto_path()
    ready = prepared(tmp_path_factory.mktemp("site") / "broker", request.param)
    with ready.running():
        yield ready


@pytest.fixture(scope="session")
def broker_with_passwords(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    mosquitto_path()
    ready = prepared(tmp_path_factory.mktemp("site") / "broker")
    with ready.running():
        yield ready


@pytest.fixture
def strict_umask() -> Iterator[None]:
    """As careless as a umask can be: rights must not depend on it."""
    before = os.umask(0)
    yield
    os.umask(before)
