"""The registry of drivers: what is installed is found, what is broken is named; and words from threads."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path

import pytest

from octmargin.device import Driver, driver_class, drivers, on_loop
from octmargin.errors import ConfigError, DeviceError

ENTRIES = {
    "good": "a_foreign_driver:GoodDriver",
    "no_driver": "a_foreign_driver:NotADriver",
    "function": "a_foreign_driver:function",
    "no_such_name": "a_foreign_driver:Missing",
    "no_such_module": "a_module_that_is_not_there:Driver",
    "broken_module": "a_broken_driver:Driver",
}


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution outside this repository that registers drivers, good and bad."""
    (tmp_path / "a_foreign_driver.py").write_text(
        textwrap.dedent("""
            from octmargin.device import Driver

            class GoodDriver(Driver):
                name = "good"

            class NotADriver:
                pass

            def function():
                pass
        """)
    )
    (tmp_path / "a_broken_driver.py").write_text("raise RuntimeError('libfoo.so is too old')\n")
    metadata = tmp_path / "foreign-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {target}" for name, target in ENTRIES.items())
    (metadata / "entry_points.txt").write_text(f"[octmargin.drivers]\n{lines}\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_foreign_driver_is_found_by_its_name() -> None:
    found = driver_class("good")
    assert issubclass(found, Driver)
    assert found.__name__ == "GoodDriver"


def test_what_a_thread_tells_a_loop_that_has_ended_is_nothing() -> None:
    """A reader or an engine may have a last word when the daemon is gone already."""
    heard: list[object] = []

    async def tell() -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(on_loop, loop, heard.append, "in time")
        return loop

    loop = asyncio.run(tell())
    assert loop.is_closed()
    on_loop(loop, heard.append, "too late")
    assert heard == ["in time"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r'driver "camera" is not installed; installed: .*good.*') as caught:
        driver_class("camera")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no_driver", "function"])
def test_an_entry_that_is_no_driver_is_named(name: str) -> None:
    with pytest.raises(DeviceError, match=f'driver "{name}" .*is not an octmargin.device.Driver'):
        driver_class(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_name", "Missing"),
        ("no_such_module", "a_module_that_is_not_there"),
        ("broken_module", r"libfoo\.so is too old"),
    ],
)
def test_an_entry_that_cannot_be_imported_is_named_with_its_cause(name: str, why: str) -> None:
    with pytest.raises(DeviceError, match=f'driver "{name}" .*cannot be loaded: .*{why}'):
        driver_class(name)


def test_broken_drivers_are_left_out_of_the_list_and_hide_no_other() -> None:
    found = drivers()
    assert "good" in found
    assert not set(found) & (set(ENTRIES) - {"good"})
