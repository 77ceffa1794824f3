"""`octmargin case interpret | re-excise | sign | addend`: what people say of a specimen."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from octmargin.case.record import events
from octmargin.case.record.events import CaseBody
from octmargin.case.record.lock import user
from octmargin.case.record.model import CaseSnapshot, FaceFinding, Interpretation, ReExcision
from octmargin.case.record.store import Head
from octmargin.case.record.verification import parse_head
from octmargin.commands.case.common import (
    By,
    CaseId,
    RecordFile,
    Role,
    SpecimenId,
    echo,
    interpreter,
    moment,
    pairs,
    say,
    tell,
)
from octmargin.commands.case.common import record as open_record
from octmargin.errors import CaseRefusedError, InputError

_FINDINGS = ("suspicious", "nothing_suspicious", "indeterminate", "not_assessed")

InRole = Annotated[Role, typer.Option("--role", help="As what.")]
Taxonomy = Annotated[str, typer.Option(help="NUCC code of who says it.")]


def interpret(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    by: By,
    role: InRole,
    finding: Annotated[
        list[str],
        typer.Option(help=f"FACE=FINDING, once for each face: {', '.join(_FINDINGS)}."),
    ],
    action: Annotated[
        list[str] | None, typer.Option(help='FACE=WHAT, what is done about it, such as medial="re-excised".')
    ] = None,
    text: Annotated[str, typer.Option(help="The interpretation in words.")] = "",
    final: Annotated[
        bool, typer.Option("--final", help="It is whole, and says something of every face.")
    ] = False,
    referred: Annotated[bool, typer.Option("--referred", help="Not in real time, but later.")] = False,
    taxonomy: Taxonomy = "",
) -> None:
    """Interpret a specimen, preliminarily unless --final."""
    findings, actions = pairs(finding, "--finding"), pairs(action, "--action")
    for face, word in findings.items():
        if word not in _FINDINGS:
            raise InputError(f'--finding {face}="{word}": give one of {", ".join(_FINDINGS)}')
    if lost := sorted(set(actions) - set(findings)):
        raise InputError(f"--action {lost[0]}: has no --finding; give both")
    said = Interpretation(
        by=interpreter(by, role, taxonomy),
        at=datetime.now(UTC),
        mode="referred" if referred else "real-time",
        state="final" if final else "preliminary",
        faces=tuple(
            FaceFinding(face=face, finding=word, action=actions.get(face, ""))  # type: ignore[arg-type] # checked
            for face, word in findings.items()
        ),
        text=text,
    )
    tell(record, case_id, events.Interpreted(specimen_id=specimen_id, interpretation=said))


def re_excise(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    face: Annotated[str, typer.Argument(help="Where more tissue was taken.")],
    by: By,
    why: Annotated[str, typer.Option(help="Why.")],
    at: Annotated[str, typer.Option(help="now, HH:MM of today, or a date and time.")] = "now",
    later: Annotated[bool, typer.Option("--later", help="In another operation.")] = False,
    shave: Annotated[str, typer.Option(help="The specimen that came of it, where it is registered.")] = "",
) -> None:
    """Note that more tissue was taken at a face."""
    taken = ReExcision(
        face=face, at=moment(at, "--at"), why=why, by=by, immediate=not later, specimen_id=shave
    )
    tell(record, case_id, events.ReExcised(specimen_id=specimen_id, re_excision=taken))


def sign(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    by: By,
    role: InRole,
    head: Annotated[
        str,
        typer.Option(
            help="SEQ:HASH of the case as you saw it (`case show`, the report). [default: shown, and asked]"
        ),
    ] = "",
) -> None:
    """Sign the report of a specimen, as the one whose final interpretation it is; nothing changes it afterwards."""
    signing = interpreter(by, role, "")
    seen = parse_head(head) if head else None
    with open_record(record) as store:
        before = store.case(case_id)
    specimen = before.specimen(specimen_id)
    said = specimen.interpretation if specimen is not None else None
    if said is not None and (said.by.name, said.by.role) == (signing.name, signing.role):
        signing = said.by
    if seen is None:
        _ask(before, specimen_id, said)
        seen = Head(before.log_seq, before.log_head)

    def as_seen(case: CaseSnapshot | None) -> list[CaseBody]:
        if case is not None and (case.log_seq, case.log_head) != (seen.seq, seen.hash):
            raise CaseRefusedError(
                f"case {case_id}: is not as it was at {seen.seq}, something was added to it since; look at it again "
                "(`octmargin case show`), and give its head"
            )
        return [events.Signed(specimen_id=specimen_id, by=signing)]

    with open_record(record) as store:
        case = store.append_made(case_id, as_seen, actor=user())
    say(case)
    typer.echo(f"head of the record: {case.log_seq}:{case.log_head}; keep it elsewhere")


def _ask(case: CaseSnapshot, specimen_id: str, said: Interpretation | None) -> None:
    """Show what is to be signed, and ask; InputError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise InputError(
            "--head: give the head of the case as you saw it, which `octmargin case show` and the report have; "
            "nothing is to be signed that nobody saw"
        )
    say(case)
    if said is not None:
        for one in said.faces:
            echo(f"  {one.face}: {one.finding}" + (f", {one.action}" if one.action else ""))
        echo(f"  {said.text}")
    typer.confirm(f"Sign the report of {specimen_id}? It is never changed afterwards", abort=True)


def addend(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    by: By,
    role: InRole,
    text: Annotated[str, typer.Option(help="What is to be added.")],
    corrects: Annotated[bool, typer.Option("--corrects", help="Something that was signed is wrong.")] = False,
    taxonomy: Taxonomy = "",
) -> None:
    """Add to a signed report."""
    body = events.Addended(
        specimen_id=specimen_id, by=interpreter(by, role, taxonomy), text=text, corrects=corrects
    )
    tell(record, case_id, body)
