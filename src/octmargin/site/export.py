"""Writes the users of a broker's folder, and their rights, for a broker that is not mosquitto."""

from __future__ import annotations

from pathlib import Path

from octmargin.errors import InputError
from octmargin.site import access, clients, emqx
from octmargin.site.settings import FILE, load_settings
from octmargin.site.users import User
from octmargin.site.writer import Writer

FOLDER = "emqx"


def export_for_emqx(folder: Path) -> list[str]:
    """Write `emqx/` into the folder, anew where it is there; gives what was written and what should be known.

    InputError where the folder is none of `octmargin broker init`, or cannot be written.
    """
    settings = load_settings(folder)
    if settings is None:
        raise InputError(f"{folder}: holds no {FILE}; make the folder with `octmargin broker init`")
    users = access.users_in(_text(folder / "broker" / "acl"))
    logins = [(user, password) for user in users if (password := _password(folder, user)) is not None]
    writer = Writer(folder)
    for name, text, secret in (
        ("octmargin-acl.conf", emqx.access_list(users), True),
        ("octmargin-users.csv", emqx.users_file(logins), True),
        ("base.hocon", emqx.configuration(settings), False),
    ):
        writer.replace(folder / FOLDER / name, text.encode(), why="written", secret=secret)
    without = [
        user.username
        for user in users
        if clients.has_password(user, settings.auth) and user not in dict(logins)
    ]
    if without:
        writer.done.append(f"note: no password here for {', '.join(without)}: enter them by hand")
    return writer.done


def _password(folder: Path, user: User) -> str | None:
    file = folder / "clients" / user.site / f"{user.role}-{user.name}" / clients.PASSWORD_FILE
    return _text(file).rstrip("\r\n") if file.exists() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{file}: cannot be read ({reason}); check its rights") from error
