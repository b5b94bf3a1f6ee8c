"""What could not be said, in the client's words, once each and in order (LLM rule 2, 5.12)."""

from __future__ import annotations

from typing import Any

from tidegate.exchange.chat import ChatRequest, Extra, State
from tidegate.wire.json_object import raw_of


class Losses:
    """Mutable: ``told`` grows."""

    __slots__ = ("told",)

    def __init__(self) -> None:
        self.told: list[str] = []

    def lose(self, what: str) -> None:
        if what not in self.told:
            self.told.append(what)

    def extras(
        self, body: dict[str, object], extra: Extra | None, dialect: str, accepts: frozenset[str], path: str
    ) -> None:
        """As ``put_extras``; what is lost is told."""
        for name in put_extras(body, extra, dialect, accepts, path):
            self.lose(name)

    def unsaid(self, request: ChatRequest, says: frozenset[str]) -> None:
        """What *request* asks for in words that the target does not have: all but *says* (LLM 5.1)."""
        sampling, output = request.sampling, request.output
        asked = [
            ("temperature", sampling.temperature is not None),
            ("top_p", sampling.top_p is not None),
            ("top_k", sampling.top_k is not None),
            ("seed", sampling.seed is not None),
            ("frequency_penalty", sampling.frequency_penalty is not None),
            ("presence_penalty", sampling.presence_penalty is not None),
            ("logit_bias", bool(sampling.logit_bias)),
            ("logprobs", bool(sampling.logprobs)),
            ("top_logprobs", sampling.top_logprobs >= 0),
            ("n", sampling.n > 1),
            ("verbosity", bool(sampling.verbosity)),
            ("max_output", request.max_output is not None),
            ("stop", bool(request.stop)),
            ("user", bool(request.user)),
            ("metadata", bool(request.metadata)),
            ("tier", bool(request.tier)),
            ("prediction", bool(request.prediction)),
            ("parallel_tools", request.parallel_tools is False),
            ("output.audio", output is not None and (bool(output.audio) or "audio" in output.modalities)),
            ("output.image", output is not None and "image" in output.modalities),
        ]
        for name, said in asked:
            if said and name not in says:
                self.lose(name)
        for name in state_wishes(request.state):
            if name not in says:
                self.lose(name)


def put_extras(
    body: dict[str, Any], extra: Extra | None, dialect: str, accepts: frozenset[str], path: str = ""
) -> list[str]:
    """Puts the members of *extra* behind the known ones of *body* when they are *dialect*'s, or named in *accepts*. The
    others are lost: their names, under *path*. A member without a value only remembers a spelling and is no loss."""
    lost: list[str] = []
    if extra is not None:
        for name, value in extra.members:
            if not value:
                continue
            if extra.dialect == dialect or name in accepts:
                body.setdefault(name, raw_of(value))
            else:
                lost.append(f"{path}.{name}" if path else name)
    return lost


def state_wishes(state: State | None) -> list[str]:
    """What *state* asks to be kept or left behind, in the client's words. Not to store is no wish of anybody who never
    stores."""
    if state is None:
        return []
    asked = [
        ("previous_response_id", bool(state.previous_id)),
        ("conversation", bool(state.conversation)),
        ("store", bool(state.store)),
        ("background", state.background),
        ("truncation", bool(state.truncation)),
    ]
    return [name for name, said in asked if said]
