"""The configuration file: TOML, checked whole before anything starts; errors name file, key and remedy."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from octmargin.bus import BrokerSettings
from octmargin.dicom.settings import IN_WORDS as DICOM_IN_WORDS
from octmargin.dicom.settings import DicomSection
from octmargin.errors import ConfigError, DeviceError, OctMarginError
from octmargin.frames import FACES, PixelFormat, ScanPlan
from octmargin.margin import DEFAULT_MODEL, Policy, QualityParameters, RuleParameters
from octmargin.metrics import MetricsSection

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
_FACE = r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,30}$"
_NAME = r"^[a-z0-9][a-z0-9-]*$"
_IN_WORDS = {
    _FACE: "up to 31 letters without accents, digits, spaces, _, . and -, beginning with a letter or a digit",
    _NAME: "small letters without accents, digits and -, beginning with a letter or a digit",
} | DICOM_IN_WORDS
Face = Annotated[str, msgspec.Meta(pattern=_FACE)]
"""A face, shave or node: fits the console's register and one level of a topic."""
Name = Annotated[str, msgspec.Meta(pattern=_NAME)]


DEFAULT_DEPTH = 640


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; a key that is not here is an error, never ignored."""


class DeviceSection(_Section, frozen=True):
    """Which console: the driver's name and the address that it takes."""

    driver: str
    address: str


class ScanSection(_Section, frozen=True):
    """The planned grid of each face, and the faces in their order. Numbers left out come from the console."""

    faces: Annotated[tuple[Face, ...], msgspec.Meta(min_length=1)] = FACES
    alines: Count | None = None
    frames: Count | None = None
    line_rate_hz: Positive = 25_000.0
    passes: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How often all faces are scanned; 0 goes on until stopped."""

    def __post_init__(self) -> None:
        for face, count in Counter(self.faces).items():
            if count > 1:
                # One name has one map and one verdict: the second sweep would replace those of the first.
                raise ConfigError(f'scan.faces names "{face}" {count} times; name each face once')


class CalibrationSection(_Section, frozen=True):
    """Where the calibration comes from: a file, or the console itself."""

    file: str | None = None
    axial_um: Positive | None = None
    """Depth pixel in tissue; overrides the calibration's own. Needed where that has none."""


class EngineSection(_Section, frozen=True):
    """Reconstruction: depth pixels kept, engine threads, how spectra become profiles, ring slots."""

    depth: Count | None = None
    """`DEFAULT_DEPTH` unless given, or what there is where that is less."""
    threads: Count = 1
    interpolation: Literal["linear", "cubic", "lanczos"] = "cubic"
    running_mean_frames: Count | None = None
    remove_fixed_pattern: bool = False
    ring_frames: Annotated[int, msgspec.Meta(ge=4)] = 32


class ModelSection(_Section, frozen=True):
    """Which margin model judges, "NAME" or "NAME:ARGUMENT", and from which suspicion on a block is suspicious."""

    name: str = DEFAULT_MODEL
    suspicious_at: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    """The model's own operating point unless given."""


class JudgingSection(msgspec.Struct, frozen=True, kw_only=True):
    """The tables that say how blocks and faces are judged, live or from a recording."""

    policy: Policy = Policy()
    model: ModelSection = ModelSection()
    quality: QualityParameters = QualityParameters()
    rule: RuleParameters = RuleParameters()


class CaseSection(_Section, frozen=True):
    """Opaque identifiers that go on the bus; never a patient's identity."""

    case_id: Name = "case-0"
    specimen_id: Name = "specimen-0"


class PicturesSection(_Section, frozen=True):
    """PNG pictures: B-scan of every n-th frame, en-face and map of every sweep."""

    folder: str
    every: Count = 8


class RecordingSection(_Section, frozen=True):
    """Raw spectra are kept, a recording per pass over the faces."""

    folder: Annotated[str, msgspec.Meta(min_length=1)]


class Config(_Section, JudgingSection, frozen=True):
    """The whole file."""

    site: Name
    console: Name
    device: DeviceSection
    broker: BrokerSettings = BrokerSettings()
    scan: ScanSection = ScanSection()
    calibration: CalibrationSection = CalibrationSection()
    engine: EngineSection = EngineSection()
    case: CaseSection = CaseSection()
    pictures: PicturesSection | None = None
    recording: RecordingSection | None = None
    metrics: MetricsSection | None = None
    dicom: DicomSection | None = None

    def __post_init__(self) -> None:
        _check_host(self.broker.host)
        needed = self.engine.threads + 2 + (self.recording is not None)
        if self.engine.ring_frames < needed:
            raise ConfigError(
                f"engine.ring_frames is {self.engine.ring_frames}; engine.threads = {self.engine.threads}"
                f"{' and [recording]' if self.recording else ''} need at least {needed}"
            )

    def fingerprint(self) -> str:
        """A short hash of everything that is configured, for the record."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]

    def of_results(self) -> dict[str, Any]:
        """The tables on which results depend, for the record: where broker and files are is none of them."""
        kept = ("scan", "engine", "policy", "model", "quality", "rule")
        return {name: msgspec.to_builtins(getattr(self, name)) for name in kept}

    def plan(self, face: str, capabilities: dict[str, Any]) -> ScanPlan:
        """The plan for one face on a console with these capabilities."""
        formats = [name for name in capabilities["pixel_formats"] if name in PixelFormat.__members__]
        if not formats:
            raise DeviceError(
                f"the console offers pixel formats {', '.join(capabilities['pixel_formats']) or '(none)'}; "
                f"known here: {', '.join(PixelFormat.__members__)}"
            )
        return ScanPlan(
            face=face,
            samples=capabilities["samples"],
            alines=self.scan.alines or capabilities["max_alines"],
            frames=self.scan.frames or capabilities["max_frames"],
            width_mm=capabilities["width_mm"],
            height_mm=capabilities["height_mm"],
            line_rate_hz=self.scan.line_rate_hz,
            pixel_format=PixelFormat[formats[0]],
        )


def _check_host(host: str) -> None:
    """What is no host would be taken for a broker that is not there yet, and waited for."""
    if "/" in host or any(character.isspace() for character in host) or host.count(":") == 1:
        raise ConfigError(
            f'broker.host is "{host}"; give a name or an address alone, and the port as broker.port'
        )


def load_config(path: str | Path) -> Config:
    """Read and check a file; ConfigError names the file, the key and what to do."""
    file = Path(path)
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file; configs/or.toml is an example to start from") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        _refuse_unknown_thresholds(msgspec.toml.decode(data))
        return msgspec.toml.decode(data, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {_explain(str(error))}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    except OctMarginError as error:
        raise ConfigError(f"{file}: {error}") from error


def _refuse_unknown_thresholds(content: dict[str, Any]) -> None:
    """Policy, quality and rule are plain dataclasses, whose unknown keys msgspec would pass over in silence."""
    for section in ("policy", "quality", "rule"):
        table = content.get(section, {})
        for key in table if isinstance(table, dict) else ():
            if key not in _keys_of(section):
                raise ConfigError(_unknown(section, key))


_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>[^`]*)`(?: - at `\$\.?(?P<at>[^`]*)`)?")
_MISSING = re.compile(r"^Object missing required field `(?P<key>[^`]*)`(?: - at `\$\.?(?P<at>[^`]*)`)?")
_NO_MATCH = re.compile(r"^Expected `str` matching regex '(?P<pattern>.*)' - at `\$\.?(?P<at>[^`]*)`")
_NO_CHOICE = re.compile(r"^Invalid enum value '(?P<value>.*)' - at `\$\.?(?P<at>[^`]*)`")
_WRONG = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<at>[^`]*)`")


def _explain(message: str) -> str:
    """Msgspec's message in our words, with a remedy."""
    if found := _UNKNOWN.match(message):
        return _unknown(found["at"] or "", found["key"])
    if found := _MISSING.match(message):
        return f'key "{_dotted(found["at"] or "", found["key"])}" is missing; add it'
    if found := _NO_MATCH.match(message):
        return f'key "{found["at"]}" takes {_IN_WORDS[found["pattern"]]}; correct the value'
    if found := _NO_CHOICE.match(message):
        return f'key "{found["at"]}" is "{found["value"]}"; use one of {", ".join(_choices(found["at"]))}'
    # What may be left out may be null to msgspec; TOML has no null.
    if found := _WRONG.match(message.replace(" | null`", "`")):
        return f'key "{found["at"]}": {found["what"][0].lower()}{found["what"][1:]}; correct the value'
    return message


def _unknown(section: str, key: str) -> str:
    known = _keys_of(section)
    near = difflib.get_close_matches(key, known, 1)
    remedy = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(sorted(known))}"
    return f'unknown key "{_dotted(section, key)}"; {remedy}'


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _choices(key: str) -> list[str]:
    """The words that the key takes."""
    section, _, name = key.rpartition(".")
    kind = next(_table(field.type) for field in _fields(_kind_of(section)) if field.encode_name == name)
    return [str(value) for value in kind.values] if isinstance(kind, msgspec.inspect.LiteralType) else []


def _keys_of(section: str) -> list[str]:
    """The keys that the table at `section` knows."""
    return [field.encode_name for field in _fields(_kind_of(section))]


def _kind_of(section: str) -> msgspec.inspect.Type:
    kind: msgspec.inspect.Type = msgspec.inspect.type_info(Config)
    for part in filter(None, section.split(".")):
        kind = next((_table(field.type) for field in _fields(kind) if field.encode_name == part), kind)
    return kind


def _fields(kind: msgspec.inspect.Type) -> tuple[msgspec.inspect.Field, ...]:
    if isinstance(kind, msgspec.inspect.StructType | msgspec.inspect.DataclassType):
        return kind.fields
    return ()


def _table(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The table itself where a key takes a table or nothing."""
    if isinstance(kind, msgspec.inspect.UnionType):
        return next(member for member in kind.types if not isinstance(member, msgspec.inspect.NoneType))
    return kind
