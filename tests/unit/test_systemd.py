"""What systemd hears, over a socket as it has one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from octmargin import systemd


def test_systemd_hears_one_datagram_with_a_line_per_assignment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        monkeypatch.setenv(systemd.ADDRESS, str(path))
        assert systemd.notify("READY=1", "STATUS=one\nline")
        assert manager.recv(4096) == b"READY=1\nSTATUS=one line"


def test_an_abstract_socket_is_reached_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = f"octmargin-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        monkeypatch.setenv(systemd.ADDRESS, f"@{name}")
        assert systemd.notify("WATCHDOG=1")
        assert manager.recv(4096) == b"WATCHDOG=1"


def test_without_a_service_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(systemd.ADDRESS, raising=False)
    assert not systemd.notify("READY=1")
    monkeypatch.setenv(systemd.ADDRESS, str(tmp_path / "nobody"))
    assert not systemd.notify("READY=1")
