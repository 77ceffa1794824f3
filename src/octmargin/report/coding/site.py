"""What a site says of its payers, its rooms and its own code descriptors: data, with holes that are shown as holes."""

from __future__ import annotations

from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from octmargin.errors import ConfigError, InputError
from octmargin.report.coding.tables import Tables

NOT_AVAILABLE = "data not available"
"""Stands wherever a site has not filled in what nobody else knows."""


class Payer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A payer, and what the site knows of its coverage."""

    name: str
    coverage: str = ""
    policy: str = ""
    """Where that is written."""
    as_of: date | None = None

    @property
    def shown_coverage(self) -> str:
        """Coverage, or that there is no such data."""
        return self.coverage or NOT_AVAILABLE


class SiteOfService(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of room where the service is given; `place_of_service` is the code that the site bills with."""

    name: str
    place_of_service: str = ""

    @property
    def shown_code(self) -> str:
        """The code, or that there is no such data."""
        return self.place_of_service or NOT_AVAILABLE


_Named = TypeVar("_Named", Payer, SiteOfService)


class CodeDates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Between which days a code is valid, both included; None where the site does not say."""

    effective: date | None = None
    sunset: date | None = None


class SiteCoding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a site fills in."""

    as_of: date
    coverage_note: str = ""
    payers: list[Payer] = field(default_factory=list)
    sites_of_service: list[SiteOfService] = field(default_factory=list)
    site_of_service: str = ""
    """Which of these this console stands in."""
    descriptors: dict[str, str] = field(default_factory=dict)
    """Official descriptors by code, where the site has a licence for them."""
    dates: dict[str, CodeDates] = field(default_factory=dict)
    """By code."""
    full_coverage: Annotated[float, Meta(gt=0, le=1)] = 0.95
    """Share of a face from which on its imaging counts as complete, not as reduced."""


@cache
def default_site() -> SiteCoding:
    """What comes with octmargin: the payers and rooms that the source document names, and no coverage."""
    path = files("octmargin.report.coding") / "data" / "site.toml"
    return msgspec.toml.decode(path.read_bytes(), type=SiteCoding)


def load_site(path: Path | None, tables: Tables) -> SiteCoding:
    """A site's file over the defaults: payers and rooms of the same name are replaced, others are added.

    InputError where it cannot be read; ConfigError where it names a code or a room that is not there.
    """
    default = default_site()
    if path is None:
        return default
    try:
        own = msgspec.toml.decode(path.read_bytes(), type=SiteCoding)
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror or error}; name a file of the site's coding data"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; see docs/coding.md") from error
    for code in (*own.descriptors, *own.dates):
        if tables.find(code) is None:
            raise ConfigError(f"{path}: {code} is in no code table; leave it out")
    rooms = _replaced(default.sites_of_service, own.sites_of_service)
    if own.site_of_service and own.site_of_service not in {room.name for room in rooms}:
        names = ", ".join(room.name for room in rooms)
        raise ConfigError(f"{path}: site_of_service {own.site_of_service!r} is none of: {names}")
    return msgspec.structs.replace(
        own,
        coverage_note=own.coverage_note or default.coverage_note,
        payers=_replaced(default.payers, own.payers),
        sites_of_service=rooms,
    )


def _replaced(default: list[_Named], own: list[_Named]) -> list[_Named]:
    by_name = {one.name: one for one in default} | {one.name: one for one in own}
    return list(by_name.values())
