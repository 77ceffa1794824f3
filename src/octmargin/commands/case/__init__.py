"""`octmargin case`: the record of cases, from the command line."""

from __future__ import annotations

import typer

from octmargin.commands.case.cases import close, identify, indicate, new, order
from octmargin.commands.case.keeping import accesses, export, head, init, migrate, prune, verify
from octmargin.commands.case.pathology import import_pathology, pathology
from octmargin.commands.case.reports import addend, interpret, re_excise, sign
from octmargin.commands.case.reviewing import review
from octmargin.commands.case.showing import list_, show
from octmargin.commands.case.specimens import (
    confirm,
    describe,
    diagnose,
    discontinue,
    formalin,
    register,
    take,
    withdraw,
)

case = typer.Typer(
    no_args_is_help=True, help="Keep the record of cases: specimens, interpretation, signature."
)

for _command in (
    init,
    new,
    identify,
    order,
    indicate,
    register,
    describe,
    formalin,
    confirm,
    diagnose,
    take,
    discontinue,
    withdraw,
    interpret,
    review,
    sign,
    addend,
    pathology,
    close,
    show,
    verify,
    head,
    export,
    accesses,
    prune,
    migrate,
):
    case.command()(_command)
case.command("re-excise")(re_excise)
case.command("list")(list_)
case.command("import-pathology")(import_pathology)
