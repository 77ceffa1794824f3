"""A signed report stays as it was signed: what the record has learnt since is told apart from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

import msgspec

from octmargin.case.record.model import CaseSnapshot, SpecimenRecord
from octmargin.errors import InputError
from octmargin.report.document import Field
from octmargin.report.wording import sentence, when

_LATER = ("phase", "staging", "formalin_at", "re_excisions", "signature", "addenda", "pathology")
"""All that a signed specimen can still learn; the record refuses anything else."""


_OF_CASE = ("patient", "order", "indication")


def as_signed(
    snapshot: CaseSnapshot, specimen: SpecimenRecord, signed: CaseSnapshot | None
) -> SpecimenRecord:
    """The specimen as its report was signed, with signature, addenda and pathology, which stand apart in a report.

    `signed` is the case as the log has it up to the signature, None where that is not known. InputError where anything
    else is not as it was signed: such a record is not one that octmargin wrote.
    """
    if specimen.signature is None or signed is None:
        return specimen
    then = signed.specimen(specimen.specimen_id)
    if then is None or then.signature != specimen.signature:
        raise _changed(specimen, "its signature")
    for name in _OF_CASE:
        if getattr(snapshot, name) != getattr(signed, name):
            raise _changed(specimen, f"the {name} of its case")
    for name in SpecimenRecord.__struct_fields__:
        if name not in _LATER and getattr(specimen, name) != getattr(then, name):
            raise _changed(specimen, name)
    return msgspec.structs.replace(specimen, formalin_at=then.formalin_at, re_excisions=then.re_excisions)


def _changed(specimen: SpecimenRecord, what: str) -> InputError:
    return InputError(
        f"specimen {specimen.specimen_id}: {what} is not as it was signed; verify the record with "
        "`octmargin case verify`"
    )


def later_fields(specimen: SpecimenRecord, base: SpecimenRecord, zone: tzinfo) -> Iterator[Field]:
    """What was recorded after signing, beside addenda and pathology; `base` is the specimen as it was signed."""
    if specimen.formalin_at is not None and specimen.formalin_at != base.formalin_at:
        yield Field(label="In formalin", value=when(specimen.formalin_at, zone))
    for one in specimen.re_excisions:
        if one not in base.re_excisions:
            yield Field(
                label=f"Re-excision, {one.face}",
                value=sentence(f"{when(one.at, zone)}, in another operation, by {one.by}: {one.why}"),
            )
