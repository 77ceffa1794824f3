"""`octmargin command` as people call it, against a daemon and mosquitto with users."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
import tomli_w
from tests.ports import free_port
from tests.system.test_commanded import NORTH, Theatre, north, phantom, site
from tests.unit.site.conftest import USERS, Prepared
from typer.testing import CliRunner

from octmargin.cli import app
from octmargin.errors import OctMarginError

__all__ = ["north", "phantom", "site"]


async def call(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `octmargin command`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "octmargin",
        "command",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in err
    return process.returncode, out.decode().strip(), err.decode().strip()


def configuration(folder: Path, broker: dict[str, object]) -> str:
    path = folder / "or.toml"
    path.write_text(tomli_w.dumps({"site": NORTH.site, "console": NORTH.console, "broker": broker}))
    return str(path)


def of_user(site: Prepared, name: str, folder: Path) -> str:
    """The configuration of a display of this user."""
    settings = site.settings(USERS[name])
    assert settings.tls is not None
    broker = {
        "host": settings.host,
        "port": settings.port,
        "username": settings.username,
        "password_file": settings.password_file,
        "tls": {"ca_file": settings.tls.ca_file},
    }
    return configuration(folder, broker)


async def test_a_command_is_given_in_the_name_of_the_user_of_the_broker(
    north: Theatre, site: Prepared, tmp_path: Path
) -> None:
    config = of_user(site, "rita", tmp_path)
    async with north.running(north.commanded()):
        code, out, _ = await call(
            "register",
            "-c",
            config,
            "kind=lumpectomy",
            "laterality=left",
            "faces=superior, medial",
            "specimen_id=s-5",
        )
        assert (code, out) == (0, "done: specimen s-5 is on the stage")
        code, out, _ = await call("start", "-c", config, "face=superior")
        assert (code, out) == (0, "done: scanning superior")
        await north.until(lambda tally: tally.case.sweeps == {"superior": 1} and tally.case.phase == "idle")
        code, out, _ = await call(
            "decide",
            "--json",
            "-c",
            config,
            "face=superior",
            "sweep=1",
            "subject=face",
            "word=unsure",
            "note=a=b",
        )
        assert code == 0
        assert (json.loads(out)["command"], json.loads(out)["outcome"]) == ("decide", "done")
        await north.until(lambda tally: tally.decision_of("superior") is not None)
        said = north.tally.decision_of("superior")
        assert said is not None
        assert [(word.by, word.role, word.note) for word in said.decisions] == [("rita", "reader", "a=b")]
        code, out, _ = await call("start", "-c", config, "face=superior")
        assert (code, out) == (3, "refused: superior was scanned whole; rescan it, or select another face")
        code, out, err = await call("close", "-c", config, "--user", "otto", "--role", "operator")
        assert (code, out) == (2, "")
        assert "broker.username is north.reader.rita, and the broker lets nobody speak for" in err
        code, out, err = await call("pause", "-c", of_user(site, "wall", tmp_path))
        assert (code, out) == (2, "")
        assert "viewer users give no commands, operators do" in err
        code, out, _ = await call("close", "-c", of_user(site, "or-1", tmp_path))
        assert (code, out) == (0, "done: specimen s-5 is closed")


async def test_where_no_daemon_is_there_nobody_waits_for_long(
    north: Theatre, site: Prepared, tmp_path: Path
) -> None:
    async with north.running(north.commanded()):
        pass
    code, _, err = await call("stop", "-c", of_user(site, "otto", tmp_path))
    assert (code, err) == (2, f"octmargin: no daemon runs for {NORTH.base}: its last word was disconnected")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("explode",), "there is no command 'explode'; known: register, select"),
        (("select",), 'select: argument "face" is missing; add it; its arguments: face'),
        (("select", "face"), "argument 'face': give it as KEY=VALUE"),
        (("select", "fase=superior"), 'select: unknown argument "fase"; did you mean "face"?'),
        (
            ("decide", "face=superior", "sweep=x", "subject=face", "word=agree"),
            'decide: argument "sweep" is "x"; give a whole number of at least 0',
        ),
        (
            ("decide", "face=superior", "sweep=1", "subject=face", "word=maybe"),
            'decide: argument "word" is "maybe"; give one of agree, disagree, unsure',
        ),
        (("start", "all=maybe"), 'start: argument "all" is "maybe"; give true or false'),
        (("stop", "--role", "viewer"), "--role 'viewer' gives no commands; use one of operator, reader"),
        (("stop",), "no MQTT broker at 127.0.0.1:"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    config = configuration(tmp_path, {"host": "127.0.0.1", "port": free_port()})
    result = CliRunner().invoke(app, ["command", *words, "-c", config])
    assert isinstance(result.exception, OctMarginError)
    assert "\n" not in str(result.exception)
    assert why in str(result.exception)
