"""Where numba keeps compiled kernels, decided before numba is loaded.

numba knows a kernel again by the file that it stands in, and does not see that what it calls in another file has
changed: after an update it would run old code. So the kernels of each state of the sources, the simulator's among them,
have a folder of their own, in the first of these that can be written: NUMBA_CACHE_DIR, `__pycache__` of this package,
the user's cache. Where there is none, in a temporary folder, for this process and those that it starts.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
_TEMPORARY_VARIABLE = "OCTMARGIN_TEMPORARY_CACHE"
_PASSED_OVER_VARIABLE = "OCTMARGIN_PASSED_OVER_CACHE"
_BESIDE = ("octmargin_simulator",)
"""Packages whose kernels are kept in the same folder, where they are installed; looked for and not imported."""
_OURS = re.compile(r"octmargin-[0-9a-f]{16}")
_KEPT_S = 30 * 86400.0
"""How long kernels of another state of the sources are kept: two versions may take turns."""


def ensure_cache_folder() -> None:
    """Point numba at the folder for these sources; a temporary one is removed when this process ends."""
    given = os.environ.get(VARIABLE)
    if given and not _is_writable_folder(Path(given)):
        os.environ[_PASSED_OVER_VARIABLE] = given
    if given and given == os.environ.get(_TEMPORARY_VARIABLE) and _is_writable_folder(Path(given)):
        return
    name = _name_for_sources()
    for base in _bases(given):
        if _is_writable_folder(base):
            folder = base / name
            if not folder.exists():
                _forget_old(base)
            _use(folder)
            return
    import atexit  # noqa: PLC0415 - needed on few machines, and this runs whenever the package is imported
    import shutil  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    temporary = tempfile.mkdtemp(prefix="octmargin-kernels-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    os.environ[_TEMPORARY_VARIABLE] = temporary
    _use(Path(temporary))


def passed_over() -> str:
    """The folder that NUMBA_CACHE_DIR named and that cannot be written; empty where there is none such."""
    return os.environ.get(_PASSED_OVER_VARIABLE, "")


def is_temporary() -> bool:
    """Whether compiled kernels are gone after this run, so that every start compiles them."""
    return _TEMPORARY_VARIABLE in os.environ and os.environ.get(VARIABLE) == os.environ[_TEMPORARY_VARIABLE]


def _use(folder: Path) -> None:
    os.environ[VARIABLE] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)


def _name_for_sources() -> str:
    state = hashlib.sha256()
    for package in _packages():
        for source in sorted(package.rglob("*.py")):
            state.update(source.relative_to(package.parent).as_posix().encode())
            state.update(source.read_bytes())
    return f"octmargin-{state.hexdigest()[:16]}"


def _packages() -> Iterator[Path]:
    """Folders of the packages that have kernels."""
    yield Path(__file__).parent
    for name in _BESIDE:
        with suppress(ValueError):
            spec = find_spec(name)
            if spec is not None and spec.origin is not None:
                yield Path(spec.origin).parent


def _bases(given: str | None) -> list[Path]:
    bases = [Path(__file__).parent / "__pycache__"]
    if given:
        # A parent process may have been here before.
        bases.insert(0, Path(given).parent if _OURS.fullmatch(Path(given).name) else Path(given))
    # As numba's own copy of appdirs has it. Without a home there is none.
    cache = "~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME", "~/.cache")
    with suppress(RuntimeError):
        bases.append(Path(cache).expanduser() / "numba")
    return bases


def _forget_old(base: Path) -> None:
    """Remove our folders in `base` that were made long ago; what another process removes first is as well."""
    import shutil  # noqa: PLC0415 - once after an update

    with suppress(OSError):
        for folder in base.iterdir():
            if _OURS.fullmatch(folder.name) and time.time() - folder.stat().st_mtime > _KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)


def _is_writable_folder(folder: Path) -> bool:
    """Whether it can be written, or made."""
    try:
        for path in (folder, *folder.absolute().parents):
            if path.exists():
                return path.is_dir() and os.access(path, os.W_OK | os.X_OK)
    except OSError:
        # Below a folder that may not even be looked into.
        return False
    return False
