"""Tokens are counted by a process of its own (LLM 11)."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest

from tidegate.assembly.ranks import estimate
from tidegate.control.token_child import LONGEST, REST, TokenChild, serve, taken

PROGRAM = """
import sys
from tidegate.control.token_child import serve
class Words:
    def count(self, text, tokenizer=""):
        if text == "die": sys.exit(3)
        return len(text.split()) + 1000 * len(tokenizer)
serve(open(0, "rb", 0), open(1, "wb", 0), Words(), %s)
"""


@pytest.fixture
def errors() -> list[BaseException]:
    return []


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def child(errors: list[BaseException], clock: list[float]) -> Iterator[TokenChild]:
    found = TokenChild(errors.append, (sys.executable, "-c", PROGRAM % 60), lambda: clock[0])
    yield found
    found.close()
    assert found._child is None


def pid(child: TokenChild) -> int:
    assert child._child is not None
    return child._child.pid


def test_one_child_counts_for_many_texts_of_any_size(child: TokenChild, errors: list[BaseException]) -> None:
    assert child._child is None
    assert child.count("a b c") == 3
    first = pid(child)
    assert child.count("a b", "o200k") == 5002
    assert child.count("word " * 200_000) == 200_000
    assert child.count("\ud800 é \n x") == 3 and child.count("") == 0
    assert pid(child) == first and errors == []


def test_a_child_that_has_died_is_followed_by_another(child: TokenChild, errors: list[BaseException]) -> None:
    assert child.count("a b") == 2
    first = pid(child)
    os.kill(first, 9)
    assert child.count("a b") == 2 and pid(child) != first
    assert errors == []


def test_a_text_that_kills_it_is_estimated_and_told_once_and_others_for_a_while(
    child: TokenChild, errors: list[BaseException], clock: list[float]
) -> None:
    assert child.count("die") == estimate("die") == 1
    assert child.count("a b c d e f") == estimate("a b c d e f") == 4
    clock[0] += REST
    assert child.count("a b c d e f") == 6
    assert child.count("die") == 1
    assert [type(error) for error in errors] == [EOFError]


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_one_that_hangs_is_ended_whether_it_reads_or_not(size: int, errors: list[BaseException]) -> None:
    child = TokenChild(errors.append, (sys.executable, "-c", "import signal; signal.pause()"), patience=0.05)
    assert child.count("x" * size) == estimate("x" * size)
    assert [type(error) for error in errors] == [TimeoutError] and child._child is None


def test_where_no_process_can_be_started_counts_are_estimates(errors: list[BaseException]) -> None:
    nobody = TokenChild(errors.append, ("/nonexistent/python",))
    assert nobody.count("The quick brown fox") == estimate("The quick brown fox") == 7
    assert nobody.count("x") == 1
    assert [type(error) for error in errors] == [FileNotFoundError]
    nobody.close()


def test_one_that_nobody_asks_leaves_and_the_next_count_does_not_notice(errors: list[BaseException]) -> None:
    child = TokenChild(errors.append, (sys.executable, "-c", PROGRAM % 0.05))
    assert child.count("a b") == 2
    assert child._child is not None and child._child.wait(10) == 0
    assert child.count("a b c") == 3 and errors == []
    child.close()


def test_the_real_one_counts_by_real_ranks(errors: list[BaseException]) -> None:
    child = TokenChild(errors.append)
    assert child.count("hello world") == child.count("hello world", "cl100k") == 2
    assert child.count("hello world", "other") == 4 and errors == []
    child.close()


class Count:
    def count(self, text: str, tokenizer: str = "") -> int:
        return len(text)


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\5\nab", struct.pack(">I", LONGEST + 1) + b"\n"])
def test_half_a_question_and_one_that_is_too_long_end_it(sent: bytes) -> None:
    read, write = os.pipe()
    os.write(write, struct.pack(">I", 3) + b"\nxy" + sent)
    os.close(write)
    answers = BytesIO()
    words: Any = Count()
    with open(read, "rb", buffering=0) as reading:
        serve(reading, answers, words)
    assert answers.getvalue() == struct.pack(">Q", 2)


def test_what_is_too_short_is_no_answer() -> None:
    assert taken(BytesIO(b"abc"), 3) == b"abc"
    with pytest.raises(EOFError):
        taken(BytesIO(b"ab"), 3)
