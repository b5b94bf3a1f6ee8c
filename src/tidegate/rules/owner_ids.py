"""Objects that live with one provider (files, uploads, batches) carry its tag in their id, so that any later call finds
the owner without a table (LLM 7): ``file-<tag>-<the provider's id>``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

WORDS: Final = {"files": "file", "uploads": "upload", "batches": "batch"}
NAMES: Final = frozenset({
    "id", "file_id", "input_file_id", "output_file_id", "error_file_id", "first_id", "last_id", "batch_id", "upload_id",
})  # fmt: skip
"""Members that hold the id of such an object."""

DEPTH: Final = 6

_TAGGED: Final = re.compile(r"(?:file|upload|batch)-([0-9a-f]{8})-")
_TAGGED_BYTES: Final = re.compile(rb'(?<=")(?:file|upload|batch)-([0-9a-f]{8})-')


def tag_of(provider: str) -> str:
    """Eight letters for *provider*: its name says nothing to a client."""
    return blake2b(provider.encode(), digest_size=4).hexdigest()


def owner_of(text: str, providers: Iterable[str]) -> str:
    """Whose object the id at the beginning of *text* names, "" when it says nothing or nobody here has that tag."""
    found = _TAGGED.match(text)
    if found is None:
        return ""
    for provider in providers:
        if tag_of(provider) == found[1]:
            return provider
    return ""


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


def tagged(value: Any, kind: str, provider: str, depth: int = DEPTH) -> Any:
    """An answer about objects of *kind* with our ids in the place of the provider's."""
    if depth <= 0:
        return value
    if isinstance(value, list):
        return [tagged(item, kind, provider, depth - 1) for item in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    for name, item in value.items():
        if name in NAMES and isinstance(item, str) and item:
            made[name] = f"{_word(name, kind, value)}-{tag_of(provider)}-{item}"
        else:
            made[name] = tagged(item, kind, provider, depth - 1)
    return made


def _word(name: str, kind: str, value: dict[str, Any]) -> str:
    if "file" in name:
        return "file"
    said = value.get("object")
    if said in ("file", "upload", "batch"):
        return str(said)
    return WORDS.get(kind, "file")
