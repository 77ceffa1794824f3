"""`octmargin case review`: a specimen to be interpreted later, on its recordings."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from octmargin.case.record.lock import user
from octmargin.commands.case.common import CaseId, RecordFile, Role, SpecimenId, echo
from octmargin.errors import InputError
from octmargin.log import configure_logging
from octmargin.record_settings import Signer
from octmargin.review import reviewing, specimen_to_review


def review(
    record: RecordFile,
    case_id: CaseId,
    specimen_id: SpecimenId,
    by: Annotated[
        str, typer.Option("--by", help="Who interprets, by name; without it the page only shows.")
    ] = "",
    role: Annotated[Role, typer.Option("--role", help="As what.")] = Role.RADIOLOGIST,
    taxonomy: Annotated[str, typer.Option(help="NUCC code of who interprets.")] = "",
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of the recordings, where they are not where the record says.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes any.")] = 0,
) -> None:
    """Serve the report with all B-scans on this machine, for a referred interpretation, until Ctrl-C."""
    if recordings is not None and not recordings.is_dir():
        raise InputError(f"--recordings {recordings}: is no folder; name the one in which they lie")
    signer = Signer(name=by.strip(), role=role.value, taxonomy=taxonomy.strip()) if by.strip() else None
    case, specimen = specimen_to_review(record, case_id, specimen_id, user())
    configure_logging(level="info", as_json=False)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with reviewing(
            record, case, specimen, signer=signer, recordings=recordings, port=port
        ) as address:
            echo(f"{address}")
            echo("open it now: it lets one browser in, once. Ctrl-C ends it")
            await stop.wait()

    asyncio.run(serve())
