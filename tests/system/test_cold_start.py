"""The first start compiles and says so; later ones load; and a machine where nothing can be written works too.

A package that cannot be written is a copy in which the cache folders are plain files: that binds root as well,
whom permissions do not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import octmargin

START = """
import json, os, sys
import numpy as np
from octmargin.cold_start import cached_kernels, compiling_told
from octmargin.signal import _surface_kernels, find_surface

said = []
with compiling_told(said.append):
    find_surface(np.zeros((2, 32), dtype=np.float32), axial_um=4.0)
kernels = [item for item in vars(_surface_kernels).values() if hasattr(item, "stats")]
folder, cached = cached_kernels()
json.dump({
    "said": said,
    "hits": sum(sum(kernel.stats.cache_hits.values()) for kernel in kernels),
    "misses": sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels),
    "folder": str(folder),
    "cached": cached,
}, sys.stdout)
"""


STEEP = """
import numpy as np
from octmargin.signal import attenuation

# So bright a pixel above so little light is read by way of octaves, a function of another file.
print(attenuation(np.array([1e6] + [1.0] * 63), 0.004)[0])
"""


DOCTOR = """
from octmargin.commands.doctor import _installation, _show

_show([finding for finding in _installation() if finding.subject == "kernel cache"])
"""


@dataclass(frozen=True)
class Start:
    said: list[str]
    hits: int
    misses: int
    folder: str
    cached: int


class Machine:
    """A copy of the package and a home, on which Python starts anew each time."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        self.home = folder / "home"
        self.home.mkdir()
        self.package = self.site / "octmargin"
        source = Path(octmargin.__file__).parent
        shutil.copytree(source, self.package, ignore=shutil.ignore_patterns("__pycache__"))

    def make_package_read_only(self) -> None:
        (self.package / "__pycache__").write_text("a file where a folder is needed")

    def make_home_read_only(self) -> None:
        (self.home / ".cache").write_text("a file where a folder is needed")

    def start(self, **variables: str) -> Start:
        return Start(**json.loads(self.run(START, **variables)))

    def run(self, script: str, **variables: str) -> str:
        taken_away = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "OCTMARGIN_TEMPORARY_CACHE")
        environment = {name: value for name, value in os.environ.items() if name not in taken_away}
        environment |= {"HOME": str(self.home), "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_start_says_that_it_compiles_and_the_second_is_silent(machine: Machine) -> None:
    first = machine.start()
    assert Path(first.folder).is_relative_to(machine.package / "__pycache__")
    assert first.misses > 0
    assert first.hits == 0
    assert first.said[0].startswith("compiling kernels (once, about")
    assert "longer on a busy machine" in first.said[0]
    assert first.said[1] == "compiling kernels: surface"
    assert first.said[-1].startswith("compiling kernels: done in")
    second = machine.start()
    assert second.said == []
    assert second.misses == 0
    assert second.hits > 0
    assert second.cached == first.cached > 0


def test_after_an_update_it_says_again_that_it_compiles(machine: Machine) -> None:
    machine.start()
    module = machine.package / "signal" / "_surface_kernels.py"
    module.write_text(module.read_text() + "# updated\n")
    updated = machine.start()
    assert updated.misses > 0
    assert updated.said[0].startswith("compiling kernels (once, about")


def test_a_read_only_package_caches_for_the_user(machine: Machine) -> None:
    machine.make_package_read_only()
    first, second = machine.start(), machine.start()
    assert Path(first.folder).is_relative_to(machine.home)
    assert first.misses > 0
    assert second.misses == 0
    assert second.hits > 0
    assert second.said == []


def test_where_nothing_can_be_written_it_runs_and_says_how_to_mend_it(machine: Machine) -> None:
    machine.make_package_read_only()
    machine.make_home_read_only()
    for _ in range(2):
        start = machine.start()
        assert start.misses > 0
        assert "at every start" in start.said[0]
        assert "set NUMBA_CACHE_DIR" in start.said[0]
        assert not Path(start.folder).exists(), "what was temporary is gone"


def test_processes_that_it_starts_share_the_temporary_folder(machine: Machine, tmp_path: Path) -> None:
    machine.make_package_read_only()
    machine.make_home_read_only()
    parents = tmp_path / "parents"
    parents.mkdir()
    shared = {"NUMBA_CACHE_DIR": str(parents), "OCTMARGIN_TEMPORARY_CACHE": str(parents)}
    assert "at every start" in machine.start(**shared).said[0]
    second = machine.start(**shared)
    assert second.misses == 0
    assert parents.exists(), "only the process that made it removes it"


def test_a_cache_folder_that_cannot_be_written_is_passed_over(machine: Machine, tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    start = machine.start(NUMBA_CACHE_DIR=str(no_folder))
    assert Path(start.folder).is_relative_to(machine.package / "__pycache__")


def test_doctor_names_the_folder_that_a_start_uses(machine: Machine, tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    for variables in ({}, {"NUMBA_CACHE_DIR": str(tmp_path / "given")}, {"NUMBA_CACHE_DIR": str(no_folder)}):
        start = machine.start(**variables)
        said = machine.run(DOCTOR, **variables).splitlines()
        assert f"ok      kernel cache: {start.folder}, {start.cached} signal kernels compiled" in said
        passed_over = f"note    kernel cache: NUMBA_CACHE_DIR is {no_folder}, which cannot be written"
        assert (passed_over in said) == (str(no_folder) in variables.values())


def test_after_an_update_of_the_simulator_its_old_kernels_do_not_run(machine: Machine) -> None:
    simulator = machine.site / "octmargin_simulator"
    simulator.mkdir()
    (simulator / "__init__.py").write_text("raise ImportError('looked at, and not imported')")
    before = machine.start().folder
    assert machine.start().folder == before
    (simulator / "kernels.py").write_text("# another state")
    assert machine.start().folder != before


def test_a_given_folder_is_used_and_a_process_that_is_started_uses_the_same(
    machine: Machine, tmp_path: Path
) -> None:
    first = machine.start(NUMBA_CACHE_DIR=str(tmp_path / "given"))
    assert Path(first.folder).is_relative_to(tmp_path / "given")
    by_a_child = machine.start(NUMBA_CACHE_DIR=str(Path(first.folder).parent))
    assert by_a_child.folder == first.folder
    assert by_a_child.misses == 0


def test_after_an_update_of_what_a_kernel_calls_the_old_code_does_not_run(machine: Machine) -> None:
    before = float(machine.run(STEEP))
    callee = machine.package / "signal" / "_decibels.py"
    text = callee.read_text()
    changed = text.replace("    return octave(value) +", "    return np.float32(3.0) * octave(value) +")
    assert changed != text
    callee.write_text(changed)
    assert float(machine.run(STEEP)) > 2.0 * before > 0.0


def test_kernels_of_long_ago_are_removed_when_new_ones_come(machine: Machine) -> None:
    cache = machine.package / "__pycache__"
    old, recent, foreign = (
        cache / name for name in ("octmargin-" + "0" * 16, "octmargin-" + "1" * 16, "somebody-else")
    )
    for folder in (old, recent, foreign):
        folder.mkdir(parents=True)
    for folder in (old, foreign):
        os.utime(folder, (0, 0))
    machine.start()
    assert not old.exists()
    assert recent.exists()
    assert foreign.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's part")
def test_a_home_that_may_not_be_looked_into_is_passed_over(machine: Machine, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    script = (
        # Loaded before, because the other user may not read this Python either.
        "import __future__, atexit, contextlib, hashlib, importlib.util, os, pathlib, re; "
        "import shutil, sys, tempfile, typing; "
        "os.setuid(65534); sys.path.insert(0, sys.argv[1]); import octmargin; "
        "print(os.environ['NUMBA_CACHE_DIR'])"
    )
    # Everybody may read the package and nobody write it.
    for parent in (tmp_path, machine.site):
        parent.chmod(0o755)
    public = Path(tempfile.mkdtemp(prefix="octmargin-test-"))
    try:
        public.chmod(0o755)
        site = shutil.copytree(machine.site, public / "site")
        environment = {"HOME": str(hidden), "NUMBA_CACHE_DIR": str(hidden / "x"), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            [sys.executable, "-c", script, str(site)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        shutil.rmtree(public)
    assert done.returncode == 0, done.stderr
    assert "octmargin-kernels-" in done.stdout
