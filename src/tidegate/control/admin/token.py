"""The admin token: where it comes from, how strong it must be, how it is compared (C3.1, S23.3, ID6)."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

from tidegate.control.data_folder import DataFolder
from tidegate.control.listening import loopback

FILE: Final = "admin-token"
VARIABLE: Final = "TIDEGATE_ADMIN_TOKEN"
SHORTEST: Final = 16
"""Characters of a token that opens the API to another machine."""
WEAK: Final = frozenset({"admin", "changeme", "default", "letmein", "password", "secret", "tidegate", "token"})
"""Words that make a token guessable, alone or repeated or followed by digits."""
PREFIX: Final = "tga_"
"""Tells people and secret scanners what they have found."""


class WeakToken(Exception):
    """A token that must not guard an address other machines reach; the text never holds the token."""


class Token(NamedTuple):
    """The token and whether it was made just now (then it is shown once)."""

    value: str
    made: bool


def find_token(configured: str, environment: Mapping[str, str], folder: DataFolder) -> Token:
    """The token in force: the config's, the environment's, the kept one, or a new one of 256 random bits."""
    value = configured or environment.get(VARIABLE, "")
    if value:
        return Token(value, False)
    kept = read_kept(folder)
    if kept:
        return Token(kept, False)
    value = PREFIX + secrets.token_urlsafe(32)
    folder.replace(FILE, value.encode() + b"\n")
    return Token(value, True)


def read_kept(folder: DataFolder) -> str:
    """The token kept in the data folder, or ""."""
    try:
        fd = os.open(folder.path / FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    with open(fd, "rb") as file:
        return file.read(4096).decode("utf-8", "replace").strip()


def check_strength(value: str, host: str) -> None:
    """Refuse a *value* that could be guessed when *host* can be reached from elsewhere. Raises ``WeakToken``."""
    if loopback(host):
        return
    bare = value.lower().strip("0123456789!-_. ")
    repeated = any(word * (len(bare) // len(word)) == bare for word in WEAK if bare)
    if len(value) < SHORTEST or len(set(value)) < 6 or not bare or repeated:
        raise WeakToken(
            f"admin.token is too weak for {host}: use at least {SHORTEST} random characters, or listen on loopback"
        )


def matches(token: str, authorization: str) -> bool:
    """Whether an ``Authorization`` value carries *token*; the time it takes tells nothing about it."""
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return False
    return hmac.compare_digest(credential.strip().encode("utf-8", "replace"), token.encode("utf-8", "replace"))
