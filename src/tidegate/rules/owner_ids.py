"""Objects that live with one provider (files, uploads, batches) carry its tag in their id, so that any later call finds
the owner without a table (LLM 7): ``file-<tag>-<the provider's id>``. A tag is of a provider and a tenant: an id that
was given to one tenant means nothing in another's hands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

from tidegate.exchange.fault import CLIENT, Fault

WORDS: Final = {"files": "file", "uploads": "upload", "batches": "batch"}
NAMES: Final = frozenset({
    "id", "file_id", "input_file_id", "output_file_id", "error_file_id", "first_id", "last_id", "batch_id", "upload_id",
})  # fmt: skip
"""Members that hold the id of such an object."""

DEPTH: Final = 6

_TAGGED: Final = re.compile(r"(?:file|upload|batch)-([0-9a-f]{8})-")
_TAGGED_BYTES: Final = re.compile(rb'(?<=")(?:file|upload|batch)-([0-9a-f]{8})-')


def tag_of(provider: str, tenant: str) -> str:
    """Eight letters for the objects of *tenant* at *provider*: the names say nothing to a client."""
    return blake2b(f"{tenant}\0{provider}".encode(), digest_size=4).hexdigest()


def owner_of(text: str, providers: Iterable[str], tenant: str) -> str:
    """Whose object the id at the beginning of *text* names, "" when it names none of ours. Raises ``not_found`` for an
    id with a tag that nobody has in *tenant*: it is another tenant's, or made up."""
    found = _TAGGED.match(text)
    return "" if found is None else owner_by(found[1], providers, tenant)


def owner_by(tag: str, providers: Iterable[str], tenant: str) -> str:
    """The provider whose objects of *tenant* have *tag*. Raises ``not_found``."""
    for provider in providers:
        if tag_of(provider, tenant) == tag:
            return provider
    raise Fault("not_found", "There is no such object.", side=CLIENT)


def owners_in(body: bytes) -> frozenset[str]:
    """The tags of all objects that the strings of a JSON body begin with."""
    if b"file-" not in body and b"batch-" not in body and b"upload-" not in body:
        return frozenset()
    return frozenset([found[1].decode() for found in _TAGGED_BYTES.finditer(body)])


def untagged_path(path: str) -> str:
    """*path* as the owner knows it."""
    return "/".join([_TAGGED.sub("", segment, 1) if _TAGGED.match(segment) else segment for segment in path.split("/")])


def untagged(body: bytes) -> bytes:
    """*body* as the owner knows its objects."""
    return _TAGGED_BYTES.sub(b"", body) if owners_in(body) else body


def tagged(value: Any, kind: str, tag: str, depth: int = DEPTH) -> Any:
    """An answer about objects of *kind* with our ids, under *tag*, in the place of the provider's."""
    if depth <= 0:
        return value
    if isinstance(value, list):
        return [tagged(item, kind, tag, depth - 1) for item in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    for name, item in value.items():
        if name in NAMES and isinstance(item, str) and item:
            made[name] = f"{_word(name, kind, value)}-{tag}-{item}"
        else:
            made[name] = tagged(item, kind, tag, depth - 1)
    return made


def _word(name: str, kind: str, value: dict[str, Any]) -> str:
    if "file" in name:
        return "file"
    said = value.get("object")
    if said in ("file", "upload", "batch"):
        return str(said)
    return WORDS.get(kind, "file")
