"""What the commands of `octmargin dicom` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from octmargin.config import load_config
from octmargin.dicom.extra import require_dicom
from octmargin.dicom.outgoing import Outgoing
from octmargin.dicom.settings import DicomSection
from octmargin.errors import ConfigError

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration, with its table [dicom].")
]
Depth = Annotated[
    int | None, typer.Option(min=1, help="Depth pixels of the volumes; all that there are without it.")
]
ReportFile = Annotated[
    Path | None, typer.Option("--report", help="The report as PDF, as `octmargin report` writes it.")
]


def load_settings(config: Path) -> DicomSection:
    """The `[dicom]` table; ConfigError where there is none, or the extra is not installed."""
    require_dicom()
    settings = load_config(config).dicom
    if settings is None:
        raise ConfigError(f"{config}: has no table [dicom]; docs/dicom.md says what belongs there")
    return settings


def open_queue(settings: DicomSection) -> Outgoing:
    """The queue of the settings; ConfigError where they name none."""
    if settings.queue_folder is None:
        raise ConfigError("dicom.queue_folder is missing; name the folder in which objects wait")
    return Outgoing(
        Path(settings.queue_folder), most_objects=settings.queue_objects, most_gb=settings.queue_gb
    )


def tell_left_out(what: str) -> None:
    """Say on standard error what is not among the objects."""
    typer.echo(f"  ! {what}", err=True)
