"""What the extra `dicom` installs, asked for before anything of it is imported."""

from __future__ import annotations

from importlib.util import find_spec

from octmargin.errors import ConfigError

_PACKAGES = ("pydicom", "highdicom", "pynetdicom", "dicomanonymizer")


def require_dicom() -> None:
    """ConfigError that names the extra where a package of it is missing."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f"DICOM needs {', '.join(missing)}; pip install 'octmargin[dicom]'")
