"""The pairs that clients sign with in place of sending a key (AWS Signature Version 4; LLM 2). Derived each time they
are asked for, stored nowhere."""

from __future__ import annotations

from typing import Any

from tidegate.assembly.consumers import short_id
from tidegate.assembly.generation import find, split
from tidegate.rules.sigv4 import access_key_of, derived_secret


def pairs_of(content: bytes, consumer: str, pepper: bytes) -> list[dict[str, Any]] | None:
    """Every key of *consumer* in a generation, with its pair; None when the config has no such consumer. *pepper*: the
    newest, under which the generation's digests were made."""
    stored = find(split(content).consumers, consumer)
    if stored is None:
        return None
    names = {key.digest: key.id for key in stored.keys}
    found = []
    for digest in dict.fromkeys((*stored.digests, *names)):
        access_key = access_key_of(digest)
        found.append(
            {
                "key": names.get(digest) or short_id(digest),
                "access_key_id": access_key,
                "secret_access_key": derived_secret(pepper, access_key),
            }
        )
    return found
