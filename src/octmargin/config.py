"""The configuration file: TOML, checked whole before anything starts; errors name file, key and remedy."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from octmargin.bus import BrokerSettings
from octmargin.dicom.settings import IN_WORDS as DICOM_IN_WORDS
from octmargin.dicom.settings import DicomSection
from octmargin.display import DisplaySection, check_display, has_users
from octmargin.errors import ConfigError, DeviceError, OctMarginError
from octmargin.frames import FACE_NAME, FACES, IDENTIFIER, PixelFormat, ScanPlan
from octmargin.identifiers import IdentifierScheme, why_not_said
from octmargin.margin import DEFAULT_MODEL, Policy, QualityParameters, RuleParameters
from octmargin.metrics import MetricsSection
from octmargin.record_settings import RecordSection
from octmargin.wrong_values import explain, keys_of, unknown_key

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
_IN_WORDS = {
    FACE_NAME: "up to 31 letters without accents, digits, spaces, _, . and -, beginning with a letter or a digit",
    IDENTIFIER: "small letters without accents, digits and -, beginning with a letter or a digit",
} | DICOM_IN_WORDS
Face = Annotated[str, msgspec.Meta(pattern=FACE_NAME)]
"""A face, shave or node: fits the console's register and one level of a topic."""
Name = Annotated[str, msgspec.Meta(pattern=IDENTIFIER)]


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
    """How often all faces are scanned at once; 0 goes on until stopped."""
    begin: Literal["at-once", "on-command"] = "at-once"
    """Whether all faces are scanned as soon as the console is ready, or each when somebody asks for it."""

    def __post_init__(self) -> None:
        for face, count in Counter(self.faces).items():
            if reason := why_not_said("a face of scan.faces", face):
                raise ConfigError(reason)
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
    """The case, and the specimen that is on the stage at the start where scanning begins at once.

    Opaque identifiers that go on the bus, never a patient's identity: one that looks like a name, a number or a date is
    refused, unless it matches `id_pattern`, the site's own scheme.
    """

    case_id: Name = "case-0"
    specimen_id: Name = "specimen-0"
    kind: Literal["lumpectomy", "shave", "node"] = "lumpectomy"
    laterality: Literal["left", "right", "unknown"] = "unknown"
    orientation: Annotated[str, msgspec.Meta(max_length=200)] = ""
    label: Annotated[str, msgspec.Meta(max_length=64)] = ""
    id_pattern: str | None = None
    decisions_file: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Keeps what readers said beyond the end of the daemon."""

    def __post_init__(self) -> None:
        for key in ("case_id", "specimen_id"):
            if reason := self.scheme.why_not(getattr(self, key)):
                raise ConfigError(f'case.{key} "{getattr(self, key)}" {reason}')
        for key in ("orientation", "label"):
            if reason := why_not_said(f"case.{key}", getattr(self, key)):
                raise ConfigError(reason)

    @property
    def scheme(self) -> IdentifierScheme:
        """What identifiers look like here."""
        return IdentifierScheme(self.id_pattern)


class OrientationSection(_Section, frozen=True):
    """How specimens are marked at this site: colour of the ink by face, and what the sutures mean."""

    ink: dict[Face, Annotated[str, msgspec.Meta(min_length=1, max_length=32)]] = {}
    sutures: Annotated[str, msgspec.Meta(max_length=200)] = ""


class PicturesSection(_Section, frozen=True):
    """PNG pictures: B-scan of every n-th frame, en-face and map of every sweep."""

    folder: str
    every: Count = 8


class RecordingSection(_Section, frozen=True):
    """Raw spectra are kept, a recording per pass over the faces, or per start by command."""

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
    orientation: OrientationSection = OrientationSection()
    pictures: PicturesSection | None = None
    recording: RecordingSection | None = None
    record: RecordSection | None = None
    metrics: MetricsSection | None = None
    dicom: DicomSection | None = None
    display: DisplaySection | None = None

    def __post_init__(self) -> None:
        _check_host(self.broker.host)
        if self.display is not None:
            check_display(self.display, self.broker)
            self._check_signers()
        needed = self.engine.threads + 2 + (self.recording is not None)
        if self.engine.ring_frames < needed:
            raise ConfigError(
                f"engine.ring_frames is {self.engine.ring_frames}; engine.threads = {self.engine.threads}"
                f"{' and [recording]' if self.recording else ''} need at least {needed}"
            )

    def _check_signers(self) -> None:
        """Where nobody logs in, everybody who reaches the display would be the signer."""
        if self.record is None or self.record.sign_without_login or has_users(self.broker):
            return
        if named := [signer.name for signer in self.record.signers if signer.user]:
            raise ConfigError(
                f'record.signers: "{named[0]}" would sign without a password, for the broker knows no users; set '
                "broker.username and broker.password_file (`octmargin broker init` makes them), or leave out `user` "
                "and sign with `octmargin case`"
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


class DisplayConfig(_Section, frozen=True):
    """What `octmargin display` needs to know, of a console whose daemon runs elsewhere."""

    site: Name
    console: Name
    broker: BrokerSettings = BrokerSettings()
    orientation: OrientationSection = OrientationSection()
    display: DisplaySection = DisplaySection()

    def __post_init__(self) -> None:
        _check_host(self.broker.host)
        check_display(self.display, self.broker)


def _check_host(host: str) -> None:
    """What is no host would be taken for a broker that is not there yet, and waited for."""
    if "/" in host or any(character.isspace() for character in host) or host.count(":") == 1:
        raise ConfigError(
            f'broker.host is "{host}"; give a name or an address alone, and the port as broker.port'
        )


_File = TypeVar("_File", Config, DisplayConfig)


def load_config(path: str | Path) -> Config:
    """Read and check a file; ConfigError names the file, the key and what to do."""
    file, content = _read(path)
    return _checked(file, content, Config)


def load_display_config(path: str | Path) -> DisplayConfig:
    """As `load_config`, of a display's file; a daemon's does as well."""
    file, content = _read(path)
    if "device" not in content:
        return _checked(file, content, DisplayConfig)
    daemon = _checked(file, content, Config)
    return DisplayConfig(
        site=daemon.site,
        console=daemon.console,
        broker=daemon.broker,
        orientation=daemon.orientation,
        display=daemon.display or DisplaySection(),
    )


def _read(path: str | Path) -> tuple[Path, dict[str, Any]]:
    file = Path(path)
    try:
        return file, msgspec.toml.decode(file.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file; configs/or.toml is an example to start from") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error


def _checked(file: Path, content: dict[str, Any], kind: type[_File]) -> _File:
    try:
        _refuse_unknown_thresholds(content)
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{file}: {explain(str(error), kind, given=content, in_words=_IN_WORDS)}"
        ) from error
    except OctMarginError as error:
        raise ConfigError(f"{file}: {error}") from error


def _refuse_unknown_thresholds(content: dict[str, Any]) -> None:
    """Policy, quality and rule are plain dataclasses, whose unknown keys msgspec would pass over in silence."""
    for section in ("policy", "quality", "rule"):
        table = content.get(section, {})
        for key in table if isinstance(table, dict) else ():
            if key not in keys_of(section, Config):
                raise ConfigError(unknown_key(section, key, Config))
