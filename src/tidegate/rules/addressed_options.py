"""``provider_options``: what a client says to one provider only is merged last into that target's body (LLM 5.12)."""

from __future__ import annotations

from typing import Final

import msgspec

from tidegate.wire.json_object import encode, is_object, members, objects, raw_of

PROTECTED: Final = frozenset(
    ("model", "messages", "system", "contents", "systemInstruction", "input", "instructions", "prompt", "stream",
     "stream_options", "api_key", "key", "authorization")
)  # fmt: skip
"""What no option may set: what is asked, of whom, how it comes back, who pays."""

BOUNDS: Final = frozenset(
    ("n", "bestof", "candidatecount", "maxtokens", "maxcompletiontokens", "maxoutputtokens", "maxnewtokens",
     "numpredict", "previousresponseid", "conversation", "cachedcontent", "background")
)  # fmt: skip
"""What money is set aside by: said in its own place, it is counted and held to the model's bounds. Without their
underscores, in lower case: vendors take both spellings."""

HOLDERS: Final = frozenset(("generationconfig", "inferenceconfig", "options"))
"""Objects in which vendors keep their bounds."""


def guarded(name: str) -> bool:
    """May no option set *name*?"""
    return name in PROTECTED or _plain(name) in BOUNDS


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def read_options(value: bytes) -> dict[str, bytes]:
    """The objects of a ``provider_options`` member by provider or dialect. Raises ``WrongShape``."""
    return objects(value, "provider_options")


def merge_options(body: dict[str, object], options: dict[str, bytes], addressed: tuple[str, ...]) -> list[str]:
    """Merges the *options* whose key is in *addressed* into *body*, an object within an object member by member.
    Returns the losses: protected members that somebody tried to set."""
    losses: list[str] = []
    for key in addressed:
        value = options.get(key)
        if value is None:
            continue
        for name, raw in members(value, f"provider_options.{key}").items():
            place = f"provider_options.{key}.{name}"
            if guarded(name):
                losses.append(place)
                continue
            if is_object(raw) and _plain(name) in HOLDERS:
                inner = members(raw)
                bounds = [each for each in inner if _plain(each) in BOUNDS]
                losses += [f"{place}.{each}" for each in bounds]
                if bounds:
                    raw = encode({each: raw_of(value) for each, value in inner.items() if each not in bounds})
            body[name] = _merged(body.get(name), raw)
    return losses


def _merged(before: object, raw: bytes) -> object:
    if isinstance(before, msgspec.Raw) and is_object(bytes(before)):
        before = {name: raw_of(value) for name, value in members(bytes(before)).items()}
    if not isinstance(before, dict) or not is_object(raw):
        return raw_of(raw)
    merged: dict[str, object] = dict(before)
    for name, value in members(raw).items():
        merged[name] = _merged(merged.get(name), value)
    return merged
