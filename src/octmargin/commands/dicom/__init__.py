"""`octmargin dicom`: the hospital's worklist and archive, from the command line."""

from __future__ import annotations

import typer

from octmargin.commands.dicom.exporting import export
from octmargin.commands.dicom.queueing import queue
from octmargin.commands.dicom.sending import send, step
from octmargin.commands.dicom.worklist import worklist

dicom = typer.Typer(no_args_is_help=True, help="Worklist, archive and export as DICOM.")

for _command in (worklist, step, send, queue, export):
    dicom.command()(_command)
