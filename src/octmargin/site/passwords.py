"""Passwords, and their hashes in the format of mosquitto's `password_file`."""

from __future__ import annotations

import base64
import hashlib
import secrets

_PASSWORD_BYTES = 24
_SALT_BYTES = 12
_ITERATIONS = 101
"""mosquitto's own number. More would hold up its one thread at each login, and protect weak passwords only: these
have 192 random bits."""
_SHA512_PBKDF2 = 7
"""Number of the hash in the file: PBKDF2 with HMAC-SHA-512."""


def new_password() -> str:
    """A random password of 32 letters, digits, '-' and '_'."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def password_line(username: str, password: str, *, salt: bytes | None = None) -> str:
    """Line of the password file, without its end; the salt is random unless given."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    parts = (str(_SHA512_PBKDF2), str(_ITERATIONS), _base64(salt), _base64(digest))
    return f"{username}:${'$'.join(parts)}"


def usernames_in(text: str) -> set[str]:
    """Users that a password file has a line for."""
    return {line.partition(":")[0] for line in text.splitlines() if ":" in line}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
