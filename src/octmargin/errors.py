"""The one tree of errors.

Every error that a person may see derives from `OctMarginError` and carries one line that names the
input, what is wrong and what to do. The command line prints that line and nothing else.
"""

from __future__ import annotations


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that is no group itself: what a person is to be told."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class OctMarginError(Exception):
    """Root of every error that octmargin raises on purpose."""


class ConfigError(OctMarginError):
    """A configuration file or value cannot be used."""


class InputError(OctMarginError):
    """A file or array given by the user cannot be used (missing, truncated, of the wrong shape)."""


class CalibrationError(InputError):
    """A calibration cannot be derived, loaded or applied."""


class DeviceError(OctMarginError):
    """A console cannot be used."""


class DeviceNotFoundError(DeviceError):
    """No console answers at the address."""


class DeviceBusyError(DeviceError):
    """The console is in use by another program."""


class DeviceDisconnectedError(DeviceError):
    """The console went away while it was in use."""


class DeviceTimeoutError(DeviceError):
    """The console did not answer in time."""


class ProtocolError(DeviceError):
    """The rules of the console link were broken."""


class LocalProtocolError(ProtocolError):
    """This side asked the link for something that its state does not allow."""


class RemoteProtocolError(ProtocolError):
    """The other side sent bytes that are not the protocol."""


class CommandRefusedError(DeviceError):
    """The console understood a command and refused it."""


class OrderRefusedError(OctMarginError):
    """A command of a person was understood and is not carried out; the text says why."""


class BrokerError(OctMarginError):
    """The MQTT broker cannot be reached or refuses us."""


class BrokerUnreachableError(BrokerError):
    """No broker answers at the address: it may come yet."""


class MessageRefusedError(BrokerError):
    """The broker refuses this message, and always will."""


class MessageError(OctMarginError):
    """A payload on the bus is not the message that its topic announces."""


class PeerError(OctMarginError):
    """A worklist, an archive or another application entity of the hospital cannot be used."""


class PeerUnreachableError(PeerError):
    """It does not answer, or cannot take anything at present: it may yet."""


class QueueFullError(OctMarginError):
    """As much waits for an archive as is allowed to."""


class RecordError(OctMarginError):
    """The record of cases cannot be used: missing, damaged, of another format, or in use."""


class RecordBusyError(RecordError):
    """Another process is writing the record."""


EXIT_REFUSED = 3
"""Exit code of what was understood, and is not allowed as things are."""


class CaseRefusedError(OctMarginError):
    """A case, as it is, does not allow what was asked for; nothing was recorded."""


class NewerMessageError(MessageError):
    """A message on the bus is of a later version than this program: `schema` is its number."""

    def __init__(self, reason: str, schema: int) -> None:
        super().__init__(reason)
        self.schema = schema
