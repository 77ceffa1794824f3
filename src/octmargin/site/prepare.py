"""Makes the folder of a broker, and adds users and sites to it.

What is there is never overwritten: passwords and rights of new users are added at the ends of their files, and
certificates are replaced only when that is asked for, with the keys that they had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from octmargin.bus.rights import Role
from octmargin.errors import ConfigError, InputError
from octmargin.site import access, clients, mosquitto, passwords
from octmargin.site.certificates import (
    Authority,
    certificate_pem,
    days_left,
    hosts_of,
    key_pem,
    load_certificate,
    load_key,
    new_key,
)
from octmargin.site.guide import guide
from octmargin.site.settings import FILE, Auth, Settings, load_settings, settings_toml
from octmargin.site.users import User
from octmargin.site.writer import Writer

RENEW_BEFORE_DAYS = 30
"""Certificates that end within so many days are renewed when that is asked for, and named where it is not."""
DEFAULT_DAYS = 825
_MAX_NAME_CHARS = 64
"""Room for a common name."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is wanted. What is None, or without names, stays as it is, or as it is usual in a new folder."""

    folder: Path
    site: str
    names: Mapping[Role, tuple[str, ...]] = field(default_factory=dict)
    """Users by role; a new site gets a user of each role that has none, called like the role."""
    hosts: tuple[str, ...] = ()
    auth: Auth | None = None
    port: int | None = None
    websocket_port: int | None = None
    installed_at: str | None = None
    client_folder: str | None = None
    days: int = DEFAULT_DAYS
    renew: bool = False


@dataclass(frozen=True)
class Report:
    """What was done, one line a file; and what a person should know."""

    done: list[str]
    notes: list[str]


def prepare(request: Request, now: datetime) -> Report:
    """Do it. `ConfigError` or `InputError`, before anything is written, where the request cannot be granted."""
    settings = _settings(request)
    place = _Place(request.folder)
    users = _users(request, place)
    return _Preparation(request, settings, place, now).run(users)


class _Place:
    """Where everything is below the folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.authority = root / "authority" / "ca.pem"
        self.authority_key = root / "authority" / "ca.key"
        self.broker = root / "broker"
        self.access = self.broker / "acl"
        self.passwords = self.broker / "passwords"
        self.certificate = self.broker / "broker.pem"
        self.key = self.broker / "broker.key"
        self.clients = root / "clients"

    def of(self, user: User) -> Path:
        return self.clients / user.site / f"{user.role}-{user.name}"

    def known_users(self) -> tuple[User, ...]:
        return access.users_in(_text(self.access))


class _Preparation:
    def __init__(self, request: Request, settings: Settings, place: _Place, now: datetime) -> None:
        self._request = request
        self._settings = settings
        self._place = place
        self._now = now
        self._writer = Writer(request.folder)
        self._notes: list[str] = []

    def run(self, users: tuple[User, ...]) -> Report:
        there = self._place.authority.exists()
        authority = self._sure_authority() if not there or self._must_sign(users) else None
        self._broker(authority)
        for user in users:
            self._client(user, authority)
        self._rights_of(users)
        if self._request.renew and authority is not None:
            self._renew(authority)
        root = self._place.root
        self._notes += [f"{file.relative_to(root)} {why}; give --renew" for file, _, why in self._due()]
        return Report(self._writer.done, self._notes)

    def _must_sign(self, users: tuple[User, ...]) -> bool:
        """Whether the authority's key is needed; it may be kept elsewhere while it is not."""
        wanted = [self._place.certificate]
        if self._settings.auth is Auth.CERTIFICATES:
            wanted += [self._place.of(user) / clients.CERTIFICATE_FILE for user in users]
        return not all(file.exists() for file in wanted) or (self._request.renew and any(self._due()))

    def _sure_authority(self) -> Authority:
        """The authority, new where there is none, and valid for longer than what it is going to sign."""
        place = self._place
        if not place.authority.exists():
            name = f"octmargin broker {self._settings.hosts[0]}"[:_MAX_NAME_CHARS]
            authority = Authority.create(name, self._key(place.authority_key), self._now)
            self._writer.once(place.authority, certificate_pem(authority.certificate))
            return authority
        authority = Authority.load(place.authority, place.authority_key)
        left = days_left(authority.certificate, self._now)
        if left >= self._request.days:
            return authority
        if not self._request.renew:
            raise ConfigError(
                f"{place.authority}: ends in {left:.0f} days, before what it would sign for {self._request.days}; "
                "give --renew, or fewer --days"
            )
        renewed = authority.renewed(self._now)
        for copy in (place.authority, place.broker / "ca.pem", *place.clients.glob("*/*/ca.pem")):
            self._writer.replace(copy, certificate_pem(renewed.certificate), why="renewed")
        self._notes.append(f"the authority was renewed: give {clients.AUTHORITY_FILE} to every client again")
        return renewed

    def _broker(self, authority: Authority | None) -> None:
        place, writer = self._place, self._writer
        writer.once(place.root / FILE, settings_toml(self._settings).encode())
        if self._settings != load_settings(place.root):
            writer.replace(place.root / FILE, settings_toml(self._settings).encode(), why="hosts added")
        writer.once(place.root / "README.md", guide(self._settings).encode())
        writer.folder(place.broker / "data")
        writer.once(place.broker / "mosquitto.conf", mosquitto.configuration(self._settings).encode())
        writer.once(place.access, access.HEAD.encode(), secret=True)
        writer.once(place.passwords, b"", secret=True)
        writer.once(place.broker / "ca.pem", place.authority.read_bytes())
        if authority is not None and not place.certificate.exists():
            key = self._key(place.key).public_key()
            hosts, days = self._settings.hosts, self._request.days
            certificate = authority.sign_broker(key, hosts, days, self._now)
            writer.once(place.certificate, certificate_pem(certificate))

    def _client(self, user: User, authority: Authority | None) -> None:
        folder, writer = self._place.of(user), self._writer
        writer.once(folder / clients.TABLE_FILE, clients.broker_table(user, self._settings).encode())
        writer.once(folder / clients.AUTHORITY_FILE, self._place.authority.read_bytes())
        certificate_file = folder / clients.CERTIFICATE_FILE
        if (
            self._settings.auth is Auth.CERTIFICATES
            and authority is not None
            and not certificate_file.exists()
        ):
            key = self._key(folder / clients.KEY_FILE).public_key()
            certificate = authority.sign_client(key, user.username, self._request.days, self._now)
            writer.once(certificate_file, certificate_pem(certificate))

    def _key(self, file: Path) -> EllipticCurvePrivateKey:
        """A new key in that file; the one that is there already where a run was cut short before it was signed."""
        self._writer.once(file, key_pem(new_key()), secret=True)
        return load_key(file)

    def _rights_of(self, users: tuple[User, ...]) -> None:
        """Passwords first: a user with rights and without password gets in nowhere."""
        place = self._place
        has = passwords.usernames_in(_text(place.passwords))
        wanting = [
            user
            for user in users
            if clients.has_password(user, self._settings.auth) and user.username not in has
        ]
        lines = [passwords.password_line(user.username, self._password(user)) + "\n" for user in wanting]
        self._writer.append(place.passwords, _at_line_start(place.passwords, "".join(lines)), what="added to")
        known = place.known_users()
        blocks = "".join(access.block(user) for user in users if user not in known)
        self._writer.append(place.access, _at_line_start(place.access, blocks), what="added to")

    def _password(self, user: User) -> str:
        """The password in the user's folder, drawn where there is none: it may be there from a run cut short."""
        file = self._place.of(user) / clients.PASSWORD_FILE
        self._writer.once(file, f"{passwords.new_password()}\n".encode(), secret=True)
        return _text(file).rstrip("\r\n")

    def _due(self) -> Iterator[tuple[Path, x509.Certificate, str]]:
        """Certificates that are to be renewed, and why; those of users without rights are not."""
        place, wanted = self._place, set(self._settings.hosts)
        of_users = [place.of(user) / clients.CERTIFICATE_FILE for user in place.known_users()]
        for file in filter(Path.exists, (place.certificate, *of_users)):
            certificate = load_certificate(file)
            left = days_left(certificate, self._now)
            if left < RENEW_BEFORE_DAYS:
                yield file, certificate, f"ends in {left:.0f} days" if left > 0 else "is over"
            elif file == place.certificate and not wanted <= set(hosts_of(certificate)):
                yield file, certificate, "lacks a host"

    def _renew(self, authority: Authority) -> None:
        for file, old, _ in list(self._due()):
            days, key = self._request.days, old.public_key()
            if file == self._place.certificate:
                new = authority.sign_broker(key, self._settings.hosts, days, self._now)
            else:
                new = authority.sign_client(key, _common_name(old), days, self._now)
            self._writer.replace(file, certificate_pem(new), why="renewed")


def _settings(request: Request) -> Settings:
    """Settings of the folder with the hosts that are new; `ConfigError` where they contradict the request."""
    wanted = {
        "auth": request.auth,
        "port": request.port,
        "websocket_port": request.websocket_port,
        "installed_at": request.installed_at,
        "client_folder": request.client_folder,
    }
    given = {key: value for key, value in wanted.items() if value is not None}
    kept = load_settings(request.folder)
    if kept is None:
        if not request.hosts:
            raise ConfigError("--host is missing: name the broker as its clients will reach it")
        if request.folder.is_dir() and any(request.folder.iterdir()):
            raise InputError(
                f"{request.folder}: is not empty and holds no {FILE}; name a new folder, or one of a broker"
            )
        given.setdefault("installed_at", str(request.folder.resolve() / "broker"))
        return Settings(hosts=request.hosts, **given)  # type: ignore[arg-type]
    for key, value in given.items():
        if value != getattr(kept, key):
            raise ConfigError(
                f"--{key.replace('_', '-')} {value}: {request.folder} was made with {getattr(kept, key)}; "
                "leave the option out, or begin in another folder"
            )
    new_hosts = tuple(host for host in request.hosts if host not in kept.hosts)
    if new_hosts and not request.renew:
        raise ConfigError(
            f"--host {new_hosts[0]}: is not in the broker's certificate; give --renew to have it made anew"
        )
    return msgspec.structs.replace(kept, hosts=(*kept.hosts, *new_hosts))


def _users(request: Request, place: _Place) -> tuple[User, ...]:
    """Users that the site shall have, in the order of roles."""
    known = [user for user in place.known_users() if user.site == request.site]
    users = list(known)
    for role in Role:
        named = request.names.get(role, ())
        if not named and not known:
            if role is Role.CONSOLE:
                raise ConfigError(f"--console is missing: name a console of site {request.site}")
            named = (str(role),)
        users += [User(request.site, role, name) for name in named]
    return tuple(dict.fromkeys(users))


def _common_name(certificate: x509.Certificate) -> str:
    (name,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name.value)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{file}: cannot be read ({reason}); check its rights") from error


def _at_line_start(file: Path, addition: str) -> str:
    """The addition, on a line of its own also where somebody's editor left the last one open."""
    text = _text(file)
    return "\n" + addition if addition and text and not text.endswith("\n") else addition
