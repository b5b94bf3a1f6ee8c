"""Bounds of a model on what one call may ask (LLM 10): what is above them is refused, or lowered and said."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.exchange.fault import CLIENT, Fault


class Clamped(NamedTuple):
    """``output`` and ``choices`` as they may be sent; ``said`` names what was lowered, for ``x-tidegate-clamped``."""

    output: int
    choices: int
    said: str


def clamp(output: int, choices: int, read: int, *, most_output: int, most_choices: int, most_input: int, known: int,
          lower: bool, candidates: int = 1, most_candidates: int = 0) -> Clamped:  # fmt: skip
    """The call with *output* tokens (0: not named), *choices* and about *read* tokens of input, within the bounds of
    its model (0: none). *known* is the catalogue's maximum: what is above it is always lowered, for nobody could serve
    it. A call that names no output gets the bound, or it would have none. *candidates* (``best_of``) are never lowered:
    fewer of them is another call. Raises ``invalid_request`` where the bounds refuse."""
    said: list[str] = []
    if most_input and read > most_input:
        raise _above("input", most_input)
    if most_choices and choices > most_choices:
        if not lower:
            raise _above("n", most_choices)
        choices = most_choices
        said.append(f"n={choices}")
    if most_candidates and candidates > most_candidates:
        raise _above("best_of", most_candidates)
    if most_output and (output > most_output or not output):
        if output and not lower:
            raise _above("max_output", most_output)
        output = most_output
        said.append(f"max_output={output}")
    if known and output > known:
        output = known
        said = [word for word in said if not word.startswith("max_output")]
        said.append(f"max_output={output}")
    return Clamped(output, choices, ", ".join(said))


def _above(what: str, bound: int) -> Fault:
    return Fault("invalid_request", f"{what} is above {bound}, the bound of this model.", reason="clamp", side=CLIENT)
