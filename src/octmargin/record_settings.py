"""The `[record]` table of the configuration: where cases are kept, and what reports at this site need."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from octmargin.case.record.model import Interpreter
from octmargin.errors import ConfigError

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Signer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who interprets and signs; `user` is the reader's login at the display, by which it knows who that is."""

    name: _Text
    role: Literal["surgeon", "radiologist"]
    taxonomy: str = ""
    user: str = ""

    @property
    def interpreter(self) -> Interpreter:
        """As the record has it."""
        role: Literal["operating surgeon", "radiologist"] = (
            "operating surgeon" if self.role == "surgeon" else "radiologist"
        )
        return Interpreter(name=self.name, role=role, taxonomy=self.taxonomy)


class RecordSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of cases, which `octmargin case init` made. `ConfigError` where values contradict each other."""

    file: Annotated[str, msgspec.Meta(min_length=1)]
    signers: tuple[Signer, ...] = ()
    """Who may interpret and sign at the display; `octmargin case` asks nobody's configuration."""
    sign_without_login: bool = False
    """For demonstrations: whoever reaches the display of a broker without users signs as `display.user`, synthetic
    specimens alone."""
    time_zone: str = "UTC"
    """In which reports tell times."""
    paper: Literal["a4", "letter"] = "a4"
    coding_site: str | None = None
    """File of the site's coding data."""
    keep_days: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """So long cases are kept at this site once they are closed; `octmargin doctor` says which are older."""

    def __post_init__(self) -> None:
        users = Counter(signer.user for signer in self.signers if signer.user)
        for user, count in users.items():
            if count > 1:
                raise ConfigError(
                    f'record.signers: user "{user}" is {count} people; give each a login of their own'
                )
        self.zone  # noqa: B018 - a zone that is not known is an error now

    @property
    def zone(self) -> tzinfo:
        """`time_zone`; ConfigError where it is not known here."""
        if self.time_zone == "UTC":
            return UTC
        try:
            return ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise ConfigError(
                f'record.time_zone "{self.time_zone}" is not known here; give one such as Europe/Berlin'
            ) from error

    def signer(self, user: str) -> Signer | None:
        """Who a user of the display is; None where nobody who may sign."""
        return next((one for one in self.signers if one.user and one.user == user), None)
