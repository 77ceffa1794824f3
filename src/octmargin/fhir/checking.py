"""Resources are given out only after a library has validated them: the R4B models of `fhir.resources`.

R4B differs from R4 in resources that are not used here: those that are have the same elements in both.
"""

from __future__ import annotations

import json
from typing import Any

from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.codesystem import CodeSystem
from pydantic import ValidationError

from octmargin.errors import InputError
from octmargin.fhir.elements import Element

_KINDS: dict[str, Any] = {"Bundle": Bundle, "CodeSystem": CodeSystem}


def checked_json(resource: Element) -> str:
    """The resource as JSON; InputError that names the first element that is not valid."""
    try:
        valid = _KINDS[resource["resourceType"]].model_validate(resource)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{resource['resourceType']}: {where} is not valid FHIR ({first['msg']}); correct it in the record"
        ) from error
    return (
        json.dumps(json.loads(valid.model_dump_json(exclude_none=True)), indent=2, ensure_ascii=False) + "\n"
    )
