"""What is wrong with a config, said so that it can be mended: file, line, field, reason, remedy. Never a secret."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

FieldPath = tuple[str | int, ...]
"""Where a value stands: ``("routes", 0, "match", "path")``."""


class Problem(NamedTuple):
    """One thing that is wrong.

    file, line  where; line 0 when there is none to name
    path        the field, like ``routes[0].match.path``; "" for the file as a whole
    message     what is wrong
    fix         what to do about it, or ""
    """

    file: str
    line: int
    path: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        field = f"{self.path}: " if self.path else ""
        return f"{where}: {field}{self.message}{'  fix: ' + self.fix if self.fix else ''}"


class ConfigError(Exception):
    """The config is refused; ``problems`` says why, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


def field_path(path: Sequence[str | int]) -> str:
    """``routes[0].match.path``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy for an unknown *word*: the nearest known one, or all of them when they are few."""
    names = sorted(known)
    near = get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {' '.join(names)}" if 0 < len(names) <= 40 else ""
