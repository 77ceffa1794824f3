"""Where numba keeps compiled kernels, decided before numba is loaded.

numba takes the first folder that can be written of NUMBA_CACHE_DIR, `__pycache__` beside the source, and a
folder in the user's cache; where there is none it refuses to load the kernels at all. Then a temporary folder
takes their place, for this process and those that it starts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
_TEMPORARY_VARIABLE = "OCTMARGIN_TEMPORARY_CACHE"
_KERNEL_ROOMS = ("signal", "margin", "bench")


def ensure_cache_folder() -> None:
    """Point numba at a temporary folder, removed when this process ends, where it would find none."""
    given = os.environ.get(VARIABLE)
    if given and _is_writable_folder(Path(given)):
        return
    package = Path(__file__).parent
    beside_source = all(_is_writable_folder(package / room / "__pycache__") for room in _KERNEL_ROOMS)
    if beside_source or _is_writable_folder(_user_cache()):
        return
    import atexit  # noqa: PLC0415 - needed on few machines, and this runs whenever the package is imported
    import shutil  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    folder = tempfile.mkdtemp(prefix="octmargin-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[VARIABLE] = os.environ[_TEMPORARY_VARIABLE] = folder
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = folder


def is_temporary() -> bool:
    """Whether compiled kernels are gone after this run, so that every start compiles them."""
    return _TEMPORARY_VARIABLE in os.environ and os.environ.get(VARIABLE) == os.environ[_TEMPORARY_VARIABLE]


def _user_cache() -> Path:
    # As numba's own copy of appdirs has it.
    if sys.platform == "darwin":
        return Path("~/Library/Caches/numba").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "numba"


def _is_writable_folder(folder: Path) -> bool:
    """Whether it can be written, or made."""
    for path in (folder, *folder.absolute().parents):
        if path.exists():
            return path.is_dir() and os.access(path, os.W_OK | os.X_OK)
    return False
