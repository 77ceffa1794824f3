"""The OR display's server: the page, its way to the broker, and pictures that are too large for the bus.

The daemon serves it in its event loop (`[display]`), or `octmargin display` on another machine. It knows the bus and
nothing of console, engine or files of recordings: what it shows is put into it.
"""

from octmargin.display.bscan_store import BscanStore
from octmargin.display.listening import check_serving
from octmargin.display.report_desk import ReportDesk
from octmargin.display.server import OwnResults, Served, serving_display, serving_review
from octmargin.display.settings import DisplaySection, check_display, has_users
from octmargin.display.site import Site, make_site

__all__ = [
    "BscanStore",
    "DisplaySection",
    "OwnResults",
    "ReportDesk",
    "Served",
    "Site",
    "check_display",
    "check_serving",
    "has_users",
    "make_site",
    "serving_display",
    "serving_review",
]
