"""Who interpreted and who signed."""

from __future__ import annotations

from datetime import tzinfo

from octmargin.case.record.model import Interpreter, SpecimenRecord
from octmargin.report.coding import check_taxonomy, load_tables
from octmargin.report.document import Field, Signing
from octmargin.report.wording import when


def signing_of(specimen: SpecimenRecord, zone: tzinfo) -> Signing:
    """The signature block."""
    interpretation, signature = specimen.interpretation, specimen.signature
    interpreter: tuple[Field, ...] = (Field(label="Interpreted by", value="nobody yet", alert=True),)
    if interpretation is not None:
        mode = {"real-time": "during the operation", "referred": "later, on the recording"}[
            interpretation.mode
        ]
        interpreter = (
            *_person("Interpreted by", interpretation.by),
            Field(label="When", value=f"{when(interpretation.at, zone)}, {mode} ({interpretation.mode})"),
            Field(label="State", value=interpretation.state),
        )
    if signature is None:
        return Signing(interpreter=interpreter, signed=(), statement="Not signed.")
    return Signing(
        interpreter=interpreter,
        signed=(
            *_person("Signed by", signature.by),
            Field(label="When", value=when(signature.at, zone)),
            Field(label="Stands on", value=f"event {signature.log_seq} of the record (in full below)"),
        ),
        statement=(
            "Signed by name in the record of the case; this is no cryptographic signature. What was signed is never "
            "changed: what is said later stands as an addendum. Coding sheet, words and layout are of the octmargin "
            "that made this file, and were not signed."
        ),
    )


def _person(label: str, person: Interpreter) -> tuple[Field, ...]:
    taxonomy = check_taxonomy(person.taxonomy, person.role, load_tables())
    return (
        Field(label=label, value=f"{person.name}, {person.role}"),
        Field(label="Taxonomy", value=taxonomy.shown, alert=bool(taxonomy.warning)),
    )
