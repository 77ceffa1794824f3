"""What the extra `fhir` installs, asked for before anything of it is imported."""

from __future__ import annotations

from importlib.util import find_spec

from octmargin.errors import ConfigError


def require_fhir() -> None:
    """ConfigError that names the extra where its package is missing."""
    try:
        found = find_spec("fhir.resources")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ConfigError("FHIR needs fhir.resources; pip install 'octmargin[fhir]'")
