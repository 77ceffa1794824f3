"""Sending objects to an archive with C-STORE, and steps to a manager of performed procedure steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.association import Association

from octmargin.dicom.association import Context
from octmargin.dicom.outgoing import Action, Parcel


class Fate(Enum):
    """What became of one attempt to deliver."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """It may go well another time."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The fate of an attempt and what was said of it; empty where there is nothing to say."""

    fate: Fate
    said: str = ""


_DUPLICATE = 0x0111
_STORED_WITH_WARNING = {
    0xB000: "values were coerced",
    0xB006: "elements were discarded",
    0xB007: "does not fit its SOP class, and was stored",
}
_RESOURCES = range(0xA700, 0xA800)
_MAY_PASS = (0x0110, 0x0213)
"""Processing failure, resource limitation."""
_PROCESSING_FAILURE = 0x0110
_MAY_NOT_BE_UPDATED = 0xA710
"""Error ID of a performed procedure step that has ended, PS3.4 F.7.2.2.2."""


def context_of(parcel: Parcel) -> Context:
    """The presentation context that the object needs: it is sent as it lies on disk, and all lie there alike."""
    return parcel.sop_class, (ExplicitVRLittleEndian,)


def store(association: Association, parcel: Parcel) -> Delivery:
    """Send one object with C-STORE."""
    try:
        status = association.send_c_store(parcel.path)
    except ValueError as error:  # the archive took no context for it
        return Delivery(Fate.REFUSED, f"the archive takes no objects of this class ({error})")
    return _delivery(status)


def perform(association: Association, parcel: Parcel) -> Delivery:
    """Begin or end a performed procedure step, with N-CREATE or N-SET."""
    content = dcmread(parcel.path)
    attributes = Dataset()
    attributes.update({element.tag: element for element in content if element.keyword not in _IDENTIFYING})
    send = association.send_n_create if parcel.action is Action.CREATE else association.send_n_set
    try:
        status, _ = send(attributes, parcel.sop_class, parcel.uid)
    except ValueError as error:
        return Delivery(Fate.REFUSED, f"no performed procedure steps are taken there ({error})")
    if (
        parcel.action is Action.SET
        and parcel.tries
        and status.get("Status") == _PROCESSING_FAILURE
        and status.get("ErrorID") == _MAY_NOT_BE_UPDATED
    ):
        # The answer to an earlier attempt was lost: the step has ended as it was told then.
        return Delivery(Fate.DELIVERED, "had ended already")
    return _delivery(status)


_IDENTIFYING = ("SOPClassUID", "SOPInstanceUID")
"""These are in the command, not in its data."""


def _delivery(status: Dataset) -> Delivery:
    code = status.get("Status")
    if code is None:
        return Delivery(Fate.FAILED, "no answer came")
    if code == 0:
        return Delivery(Fate.DELIVERED)
    if code == _DUPLICATE:
        return Delivery(Fate.DELIVERED, "was there already")
    comment = status.get("ErrorComment") or "no comment"
    if code in _STORED_WITH_WARNING:
        return Delivery(Fate.DELIVERED, f"{_STORED_WITH_WARNING[code]} ({comment})")
    said = f"status {code:04X}H ({comment})"
    if code in _RESOURCES or code in _MAY_PASS:
        return Delivery(Fate.FAILED, said)
    return Delivery(Fate.REFUSED, said)
