"""The promise of a strategy: in which order the targets of a model are tried (LLM 9).

A strategy is one file in ``strategies/``: a frozen pydantic ``Config`` with the settings beside ``use:`` that are its
own (``retry cooldown on hedge sticky cross`` are everybody's and belong to the engine), and a class with the file's
name in CamelCase, built once per model as ``Strategy(config)``. It decides from values: time and chance are handed in.
It only orders; who may be tried at all (allowed, capable, not cooling, priced) was decided before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec


class Ask(msgspec.Struct):
    """What of a call a strategy may look at. Tokens are estimates; ``keys`` holds what ``sticky:`` may hash
    (``consumer``, ``user``, ``header:NAME`` -> value); ``context`` names the conversation, by its id or its beginning,
    "" where there is none, and to strategies that do not say ``by_conversation``."""

    now: float
    model: str = ""
    task: str = ""
    stream: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    tenant: str = ""
    consumer: str = ""
    user: str = ""
    context: str = ""
    keys: dict[str, str] = {}


class Standing(msgspec.Struct):
    """One target as it stands now. Figures of a target nobody has called are 0 (``ttft``, ``rate``).

    index         its place in the config
    in_flight     calls this node has open on it
    ttft          seconds to first content, moving average
    rate          output tokens a second, moving average
    price_input   n$ per million input tokens; ``price_cached`` of those read from cache; ``price_output``
    tasks         what it is made for
    cached_share  share of input lately read from cache, 0..1
    window        context window in tokens, 0 unknown; ``quality`` rank, higher is better, 0 unknown
    """

    index: int
    provider: str
    model: str
    weight: float = 1.0
    in_flight: int = 0
    ttft: float = 0.0
    rate: float = 0.0
    price_input: int = 0
    price_cached: int = 0
    price_output: int = 0
    cached_share: float = 0.0
    window: int = 0
    quality: int = 0
    tasks: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


class Strategy(Protocol):
    """See the module. A class with ``by_conversation = True`` has conversations named to it: others pay nothing."""

    def order(self, standings: Sequence[Standing], ask: Ask, random: Callable[[], float]) -> list[int]:
        """Positions in *standings* (not ``index``), best first; all of them, each once."""

    def served(self, standing: Standing, ask: Ask) -> None:
        """*standing* answered *ask*: for those that remember (``sticky_context``). Bounded memory."""
