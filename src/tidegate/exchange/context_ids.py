"""Names of conversations: how ids look, and what an id that a client sends means (CRP 1.2, 1.3).

An id is never a credential: whoever reads one here knows nothing yet about who may use it.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

_ULID: Final = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
_is_ulid: Final = re.compile(_ULID).fullmatch
_address: Final = re.compile(rf"(ctx_|conv_|cv_|resp_|chatcmpl-|msg_|v1_)({_ULID})").fullmatch
_is_name: Final = re.compile(r"[A-Za-z0-9._:@-]{1,128}").fullmatch
_is_item: Final = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_is_key: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*").fullmatch
_is_branch: Final = re.compile(rf"[a-z0-9][a-z0-9_./-]{{0,63}}|~{_ULID}").fullmatch

KEY: Final = 256
"""Bytes of an item's key."""

MAIN: Final = "main"
"""The branch a context begins with."""

RESPONSE_PREFIXES: Final[dict[str, str]] = {
    "openai_chat": "chatcmpl-",
    "openai_responses": "resp_",
    "anthropic_messages": "msg_",
    "gemini_interactions": "v1_",
}
"""Dialect -> how it begins the id of an answer. Behind it stands the ULID of the turn's version."""


class Address(NamedTuple):
    """What a client means by an id: ``context`` (a mutable ref), ``version`` (immutable) or ``name`` (a session's, of
    the client's own choice). ``id`` is the canonical form: ``ctx_...``, ``cv_...``, or the name."""

    kind: Literal["context", "version", "name"]
    id: str


def is_ulid(text: str) -> bool:
    """26 letters of Crockford's base 32, upper case, not beyond 128 bits."""
    return _is_ulid(text) is not None


def read_id(text: str) -> Address | None:
    """*text* as an id that was minted here; None for anything else. ``conv_`` names the context, and the id of an
    answer in any dialect names the version of its turn."""
    found = _address(text)
    if found is None:
        return None
    prefix, ulid = found[1], found[2]
    if prefix == "ctx_" or prefix == "conv_":
        return Address("context", "ctx_" + ulid)
    return Address("version", "cv_" + ulid)


def read_session(text: str) -> Address | None:
    """*text* as a ``session_id``: the id of a context, or a name of 1 to 128 characters ``[A-Za-z0-9._:@-]``. None for
    neither, and for a version, which is no session."""
    known = read_id(text)
    if known is not None:
        return known if known.kind == "context" else None
    if _is_name(text) is None:
        return None
    return Address("name", text)


def context_id(ulid: str) -> str:
    return "ctx_" + ulid


def version_id(ulid: str) -> str:
    return "cv_" + ulid


def item_id(ulid: str) -> str:
    return "it_" + ulid


def ulid_of(id: str) -> str:
    """The ULID of an id that ``read_id`` knows."""
    return id[-26:]


def response_id(version: str, dialect: str) -> str:
    """The id of the answer that made *version*, as *dialect* spells it; the version's own where it has no form."""
    prefix = RESPONSE_PREFIXES.get(dialect)
    return version if prefix is None else prefix + ulid_of(version)


def conversation_id(context: str) -> str:
    """The same context as ``conv_...``."""
    return "conv_" + ulid_of(context)


def anonymous_branch(ulid: str) -> str:
    """The name of a branch that an implicit fork makes."""
    return "~" + ulid


def is_item_id(text: str) -> bool:
    return _is_item(text) is not None


def is_key(text: str) -> bool:
    """A dotted name up to 256 bytes."""
    return len(text) <= KEY and _is_key(text) is not None


def is_branch(text: str) -> bool:
    return _is_branch(text) is not None
