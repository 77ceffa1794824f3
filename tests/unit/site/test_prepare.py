"""What `octmargin broker init` writes, adds, renews and refuses."""

from __future__ import annotations

import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from octmargin.bus.connection import check_credentials
from octmargin.bus.rights import Role
from octmargin.cli import run_command_line
from octmargin.config import load_config
from octmargin.errors import ConfigError, InputError, OctMarginError
from octmargin.site.access import users_in
from octmargin.site.certificates import days_left, hosts_of, load_certificate
from octmargin.site.passwords import new_password, usernames_in
from octmargin.site.prepare import Request, prepare
from octmargin.site.settings import Auth
from octmargin.site.users import User

from .conftest import HOST, USERS, Prepared, again, contents, days_from_now, prepared

FIRST = {"site": "north", "names": {Role.CONSOLE: ("or-1",)}, "hosts": ("broker.example", "10.1.2.3")}
NOW = datetime.now(UTC)


def first(folder: Path, **changes) -> Request:
    return Request(**{"folder": folder, **FIRST, **changes})


def certificates(broker: Prepared) -> dict[str, x509.Certificate]:
    return {
        str(path.relative_to(broker.folder)): load_certificate(path) for path in broker.folder.rglob("*.pem")
    }


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    for auth in Auth:
        folder = tmp_path / auth
        prepare(first(folder, auth=auth), NOW)
        before = contents(folder)
        assert prepare(first(folder, auth=auth), NOW).done == []
        assert contents(folder) == before


def test_secrets_are_for_their_owner_alone(tmp_path: Path, strict_umask: None) -> None:
    broker = prepared(tmp_path / "broker", Auth.CERTIFICATES)
    files = [path for path in broker.folder.rglob("*") if path.is_file()]
    secret = {
        path for path in files if path.suffix == ".key" or path.name in ("password", "passwords", "acl")
    }
    assert {path.name for path in secret} == {
        "ca.key",
        "broker.key",
        "client.key",
        "password",
        "passwords",
        "acl",
    }
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path in secret else 0o644), path
    for folder in (
        broker.folder,
        broker.folder / "authority",
        broker.folder / "broker",
        broker.folder / "clients",
    ):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_passwords_are_random_and_kept_apart_from_their_hashes(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker")
    secrets = {(broker.client_folder(user) / "password").read_text().strip() for user in USERS.values()}
    assert len(secrets) == len(USERS)
    assert all(len(secret) == len(new_password()) == 32 for secret in secrets)
    others = [content for name, content in contents(broker.folder).items() if not name.endswith("/password")]
    assert not [content for content in others for secret in secrets if secret.encode() in content]
    assert usernames_in((broker.folder / "broker" / "passwords").read_text()) == {
        u.username for u in USERS.values()
    }


def test_with_certificates_only_displays_have_passwords(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker", Auth.CERTIFICATES)
    with_password = {who for who, user in USERS.items() if (broker.client_folder(user) / "password").exists()}
    assert with_password == {"anna", "otto", "rita", "wall", "s-anna", "s-rita", "s-wall"}


def test_a_new_site_gets_a_user_of_every_role(tmp_path: Path) -> None:
    prepare(first(tmp_path / "broker"), NOW)
    users = users_in((tmp_path / "broker" / "broker" / "acl").read_text())
    assert [user.username for user in users] == [
        "north.console.or-1",
        "north.operator.operator",
        "north.reader.reader",
        "north.viewer.viewer",
        "north.archive.archive",
    ]


def test_a_site_or_a_user_is_added_without_touching_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    prepare(first(folder), NOW)
    hashes = folder / "broker" / "passwords"
    hashes.write_text(hashes.read_text() + "own-bridge:$7$mine")  # no end of line
    before = contents(folder)
    prepare(Request(folder=folder, site="south", names={Role.CONSOLE: ("or-1",)}), NOW)
    prepare(Request(folder=folder, site="north", names={Role.READER: ("rita",)}), NOW)
    after = contents(folder)
    grown = {"broker/acl", "broker/passwords"}
    assert {name: after[name] for name in before if name not in grown} == {
        name: content for name, content in before.items() if name not in grown
    }
    assert all(after[name].startswith(before[name]) for name in grown)
    usernames = usernames_in(after["broker/passwords"].decode())
    assert {"own-bridge", "south.console.or-1", "south.viewer.viewer", "north.reader.rita"} < usernames
    assert "north.reader.rita" in {user.username for user in users_in(after["broker/acl"].decode())}


def test_a_user_whose_lines_were_deleted_does_not_come_back_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    prepare(first(folder, auth=Auth.CERTIFICATES), NOW)
    access = folder / "broker" / "acl"
    text = access.read_text()
    start = text.index("user north.viewer.viewer")
    access.write_text(text[:start] + text[text.index("user north.archive") :])
    ends = days_from_now(820)
    done = prepare(Request(folder=folder, site="north", renew=True), ends).done
    assert "renewed: clients/north/console-or-1/client.pem" in done
    assert not [line for line in done if "viewer" in line]
    assert "viewer" not in access.read_text()


def test_a_password_is_drawn_anew_after_its_lines_were_deleted(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker")
    password = broker.client_folder(USERS["rita"]) / "password"
    hashes = broker.folder / "broker" / "passwords"
    old = password.read_text()
    password.unlink()
    hashes.write_text(
        "".join(
            line for line in hashes.read_text().splitlines(keepends=True) if "north.reader.rita" not in line
        )
    )
    again(broker)
    assert password.read_text() != old
    assert "north.reader.rita" in usernames_in(hashes.read_text())


def test_secrets_that_were_taken_away_are_not_missed(tmp_path: Path) -> None:
    """They belong on the client's machine, and the authority's key offline."""
    for auth in Auth:
        broker = prepared(tmp_path / auth, auth)
        for path in [*broker.folder.rglob("password"), *broker.folder.rglob("*.key")]:
            path.unlink()
        assert again(broker).done == []


def test_what_was_cut_short_is_finished(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker", Auth.CERTIFICATES)
    client = broker.client_folder(USERS["or-1"])
    (client / "client.pem").unlink()
    hashes = broker.folder / "broker" / "passwords"
    lines = hashes.read_text().splitlines(keepends=True)
    hashes.write_text("".join(lines[1:]))
    again(broker)
    check_credentials(broker.settings(USERS["or-1"]))  # the certificate fits the key that was there
    assert len(hashes.read_text().splitlines()) == len(lines)


def test_certificates_name_hosts_users_and_their_use(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker", Auth.CERTIFICATES, days=90)
    found = certificates(broker)
    assert set(hosts_of(found["broker/broker.pem"])) == {HOST, "localhost"}
    names = {
        certificate.subject.rfc4514_string()
        for name, certificate in found.items()
        if name.endswith("client.pem")
    }
    assert names == {f"CN={user.username}" for user in USERS.values()}
    authority = found["authority/ca.pem"]
    for name, certificate in found.items():
        certificate.verify_directly_issued_by(authority)
        assert certificate.public_key().curve.name == "secp256r1"
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value.ca == name.endswith("ca.pem")
        if not name.endswith("ca.pem"):
            assert 89 < days_left(certificate, datetime.now(UTC)) <= 90


def test_only_what_ends_soon_is_renewed_with_the_keys_that_are_there(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker", Auth.CERTIFICATES, days=90)
    assert again(broker, renew=True, days=90).done == []
    before = certificates(broker)
    later = days_from_now(70)
    assert "broker/broker.pem ends in 20 days; give --renew" in again(broker, now=later).notes
    report = again(broker, now=later, renew=True, days=90)
    after = certificates(broker)
    changed = {name for name, certificate in after.items() if certificate != before[name]}
    assert changed == {name for name in before if not name.endswith("ca.pem")}
    assert {line.removeprefix("renewed: ") for line in report.done} == changed
    assert report.notes == []
    for name in changed:
        assert after[name].public_key() == before[name].public_key()
        assert after[name].subject == before[name].subject
        assert days_left(after[name], later) > 89
    for user in USERS.values():
        check_credentials(broker.settings(user))


def test_the_authority_is_renewed_before_it_ends_and_what_it_signed_still_holds(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker", Auth.CERTIFICATES, now=days_from_now(-3600), days=825)
    with pytest.raises(ConfigError, match=r"ca\.pem: ends in 50 days.*give --renew, or fewer --days"):
        again(broker, names={Role.READER: ("new",)})
    old = load_certificate(broker.folder / "broker" / "broker.pem")
    report = again(broker, renew=True)
    new = load_certificate(broker.folder / "authority" / "ca.pem")
    assert days_left(new, NOW) > 3000
    old.verify_directly_issued_by(new)
    for copy in broker.folder.rglob("ca.pem"):
        assert load_certificate(copy) == new
    assert report.notes == ["the authority was renewed: give ca.pem to every client again"]


def test_a_host_is_added_by_renewing(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker")
    with pytest.raises(
        ConfigError, match=r"--host new.example: is not in the broker's certificate; give --renew"
    ):
        again(broker, hosts=("new.example",))
    again(broker, hosts=("new.example",), renew=True)
    certificate = load_certificate(broker.folder / "broker" / "broker.pem")
    assert set(hosts_of(certificate)) == {HOST, "localhost", "new.example"}
    assert again(broker, hosts=("new.example",)).done == []


def test_renewing_needs_the_authoritys_key_back(tmp_path: Path) -> None:
    broker = prepared(tmp_path / "broker")
    (broker.folder / "authority" / "ca.key").unlink()
    before = contents(broker.folder)
    with pytest.raises(InputError, match=r"ca\.key: cannot be read \(No such file.*put the key there"):
        again(broker, now=days_from_now(820), renew=True)
    assert contents(broker.folder) == before


def test_a_consoles_table_makes_a_configuration(tmp_path: Path) -> None:
    for auth in Auth:
        folder = tmp_path / auth
        prepare(first(folder, auth=auth, client_folder="/srv/octmargin"), NOW)
        table = (folder / "clients" / "north" / "console-or-1" / "broker.toml").read_text()
        file = tmp_path / f"{auth}.toml"
        head = 'site = "north"\nconsole = "or-1"\n[device]\ndriver = "usb"\naddress = "usb:1209:0c7a"\n'
        file.write_text(head + table)
        broker = load_config(file).broker
        assert (broker.host, broker.port) == ("broker.example", 8883)
        assert broker.tls is not None
        assert broker.tls.ca_file == "/srv/octmargin/ca.pem"
        assert broker.username == ("north.console.or-1" if auth is Auth.PASSWORDS else "")
        assert bool(broker.tls.key_file) == (auth is Auth.CERTIFICATES)


def test_the_brokers_files_are_named_where_they_will_be(tmp_path: Path) -> None:
    prepare(first(tmp_path / "a"), NOW)
    prepare(first(tmp_path / "b", installed_at="/etc/mosquitto/octmargin"), NOW)
    here = (tmp_path / "a" / "broker" / "mosquitto.conf").read_text()
    there = (tmp_path / "b" / "broker" / "mosquitto.conf").read_text()
    assert f"acl_file {tmp_path}/a/broker/acl\n" in here
    assert "acl_file /etc/mosquitto/octmargin/acl\n" in there
    assert str(tmp_path) not in there


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hosts": ()}, "--host is missing"),
        ({"names": {}}, "--console is missing: name a console of site north"),
        ({"site": "North/1"}, "--site 'North/1': begins with a letter or digit"),
        ({"names": {Role.CONSOLE: ("or.1",)}}, "--console 'or.1': begins with"),
        ({"names": {Role.CONSOLE: ("o",), Role.READER: ("R",)}}, "--reader 'R': begins with"),
        ({"names": {Role.CONSOLE: ("o" * 64,)}}, "has 78 characters.*shorten the site or the console"),
        ({"hosts": ("mqtts://broker",)}, "--host 'mqtts://broker': is neither a host name nor an IP"),
        ({"hosts": ("broker:8883",)}, "--host 'broker:8883': is neither.*without scheme and port"),
        ({"port": 9001}, "--port and --websocket-port are both 9001"),
        ({"installed_at": "etc/mosquitto"}, "--installed-at 'etc/mosquitto': is no absolute path"),
        ({"client_folder": "/a\nb"}, r"--client-folder '/a\\nb': is no absolute path"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, changes, message: str) -> None:
    folder = tmp_path / "broker"
    with pytest.raises(ConfigError, match=message) as caught:
        prepare(first(folder, **changes), NOW)
    assert "\n" not in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"port": 1}, "--port 1: .* was made with 8883; leave the option out"),
        ({"auth": Auth.CERTIFICATES}, "--auth certificates: .* was made with passwords"),
        ({"installed_at": "/elsewhere"}, "--installed-at /elsewhere: .* was made with"),
    ],
)
def test_a_folder_stays_as_it_was_made(tmp_path: Path, changes, message: str) -> None:
    folder = tmp_path / "broker"
    prepare(first(folder), NOW)
    before = contents(folder)
    with pytest.raises(ConfigError, match=message):
        prepare(first(folder, **changes), NOW)
    assert contents(folder) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty and holds no broker\.toml"):
        prepare(first(tmp_path), NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("broker.toml", "hosts = 1", r"broker\.toml: .*correct it"),
        ("broker.toml", "= =", r"broker\.toml: .*correct it"),
        ("authority/ca.pem", "no certificate", r"ca\.pem: is no certificate in PEM"),
        ("authority/ca.key", "no key", r"ca\.key: is no private key in PEM"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, content: str, message: str) -> None:
    broker = prepared(tmp_path / "broker")
    (broker.folder / file).write_text(content)
    with pytest.raises(OctMarginError, match=message) as caught:
        again(broker, now=days_from_now(820), renew=True)
    assert "\n" not in str(caught.value)


def test_the_key_of_another_authority_is_refused(tmp_path: Path) -> None:
    broker, other = prepared(tmp_path / "broker"), prepared(tmp_path / "other")
    (broker.folder / "authority" / "ca.key").write_bytes((other.folder / "authority" / "ca.key").read_bytes())
    with pytest.raises(InputError, match=r"ca\.key: is not the key of .*ca\.pem"):
        again(broker, now=days_from_now(820), renew=True)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"broker\.toml: cannot be read \(Not a directory"):
        prepare(first(tmp_path / "file" / "broker"), NOW)


def test_user_names_are_read_as_they_are_written() -> None:
    for user in USERS.values():
        assert User.parse(user.username) == user
    for other in ("", "north", "north.console", "north.king.a", "north.console.A", "a.b.c.d"):
        assert User.parse(other) is None


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["octmargin", "broker", "init", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_command_line()
    return int(caught.value.code or 0)


def test_the_command_prints_files_and_no_secrets(tmp_path: Path, monkeypatch, capsys) -> None:
    folder = tmp_path / "broker"
    arguments = (
        *(str(folder), "--site", "north", "--console", "or-1", "--console", "or-3", "--host", "broker.example"),
        *("--reader", "rita", "--auth", "certificates", "--port", "18883", "--websocket-port", "19001", "--days", "90"),
    )  # fmt: skip
    assert run(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert "written: clients/north/reader-rita/client.key" in printed
    secrets = [path.read_text().strip() for path in folder.rglob("password")]
    secrets += [path.read_text().splitlines()[1] for path in folder.rglob("*.key")]
    assert not [secret for secret in secrets if secret in printed]
    settings = msgspec.toml.decode((folder / "broker.toml").read_bytes())
    assert (settings["port"], settings["websocket_port"], settings["auth"]) == (18883, 19001, "certificates")
    assert run(monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == "nothing to do: everything is there\n"


def test_without_its_library_the_command_says_what_to_install(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("octmargin.commands.broker.find_spec", lambda _: None)
    assert run(monkeypatch, str(tmp_path / "b"), "--site", "n", "--console", "c", "--host", "h") == 2
    said = "octmargin: octmargin broker init: the package cryptography is missing; pip install 'octmargin[broker]'\n"
    assert capsys.readouterr().err == said
