"""The voice of speech in the provider's words (LLM 6): names differ, so a model may map them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.wire.json_splice import replaced, spans

DEFAULT: Final = "default"
"""The name in a map under which the voice stands that speaks for unknown ones."""
LOSS: Final = ("voice",)


def with_voice(body: bytes, voice: Any, voices: dict[str, str]) -> tuple[bytes, tuple[str, ...]]:
    """*body* with its *voice* as *voices* has it, and what got lost by that. A name that the map leads to is the
    provider's own already; another one is spoken by ``default``, or goes on as it is when there is none: both are said.
    A voice that is no name (a custom one, by id) is the provider's own too."""
    if not isinstance(voice, str):
        return body, ()
    meant = voices.get(voice)
    losses: tuple[str, ...] = ()
    if meant is None:
        if voice in voices.values():
            return body, ()
        losses = LOSS
        meant = voices.get(DEFAULT, voice)
    if meant != voice:
        start, end = spans(body, ("voice",))["voice"]
        body = replaced(body, [(start, end, msgspec.json.encode(meant))])
    return body, losses
