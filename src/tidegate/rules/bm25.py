"""Which of some texts a question is about: BM25, over the elided items of one context (CRP 8.6)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Final

from tidegate.exchange.context import Item
from tidegate.rules.item_messages import text_of

K1: Final = 1.2
B: Final = 0.75
SECRET: Final = frozenset({"sensitive", "secret"})
"""Classes that recall never touches."""
RECALLED: Final = frozenset({"message", "tool_result", "document", "event", "place"})
"""Types that may come back."""
TERMS: Final = 64
"""Different words of a question that count, the first ones."""

_words: Final = re.compile(r"\w+").findall


def words_of(text: str) -> list[str]:
    """The words of *text*, case aside."""
    return _words(text.casefold())


def scores(query: str, texts: Sequence[str]) -> list[float]:
    """How well each of *texts* answers *query*; 0.0 for not at all."""
    terms = list(dict.fromkeys(words_of(query)))[:TERMS]
    counts = [Counter(words_of(text)) for text in texts]
    lengths = [sum(count.values()) for count in counts]
    total = len(texts)
    mean = sum(lengths) / total if total else 0.0
    found = [0.0] * total
    if not mean:
        return found
    for term in terms:
        holders = [place for place in range(total) if term in counts[place]]
        if not holders:
            continue
        weight = log(1.0 + (total - len(holders) + 0.5) / (len(holders) + 0.5))
        for place in holders:
            often = counts[place][term]
            found[place] += weight * often * (K1 + 1.0) / (often + K1 * (1.0 - B + B * lengths[place] / mean))
    return found


def recall(query: str, items: Sequence[Item], tokens: int, most: int) -> list[Item]:
    """Those of *items* that *query* is about, in their own order: the best first come in while they fit *tokens*, at
    most *most* of them."""
    able = [item for item in items if item.type in RECALLED and item.privacy not in SECRET]
    found = scores(query, [text_of(item) for item in able])
    best = sorted(range(len(able)), key=lambda place: (-found[place], place))
    chosen: list[int] = []
    for place in best:
        if found[place] <= 0.0 or len(chosen) >= most:
            break
        cost = able[place].tokens + OVERHEAD
        if cost <= tokens:
            tokens -= cost
            chosen.append(place)
    return [able[place] for place in sorted(chosen)]


OVERHEAD: Final = 20
"""Tokens of the marks around a recalled item."""
