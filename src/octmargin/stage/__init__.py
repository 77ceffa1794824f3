"""The specimen on the stage: what is being done with it, and what readers say of it. No input or output, no clock."""

from octmargin.stage.readings import Readings, Swept
from octmargin.stage.session import CaseSession, Conventions, Stage, Wish

__all__ = ["CaseSession", "Conventions", "Readings", "Stage", "Swept", "Wish"]
