"""JSON that broke off (LLM 10)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.cut_json import DEEPEST, LONGEST, mended

ANSWER = b'{"id":"x","choices":[{"message":{"content":"He said \\"hi\\" \\ud83c\\udf0d."},"n":12}],"usage":{"in":11}}'


@pytest.mark.parametrize(
    ("until", "found"),
    [
        (b'"content', b'{"id":"x","choices":[{"message":{}}]}'),
        (b"He said", b'{"id":"x","choices":[{"message":{"content":"He said"}}]}'),
        (b'He said \\"h', b'{"id":"x","choices":[{"message":{"content":"He said \\"h"}}]}'),
        (b"\\", b'{"id":"x","choices":[{"message":{"content":"He said "}}]}'),
        (b"hi\\", b'{"id":"x","choices":[{"message":{"content":"He said \\"hi"}}]}'),
        (b"\\ud83", b'{"id":"x","choices":[{"message":{"content":"He said \\"hi\\" "}}]}'),
        (b"\\ud83c", b'{"id":"x","choices":[{"message":{"content":"He said \\"hi\\" "}}]}'),
        (b'"n":1', ANSWER[: ANSWER.index(b',"n"')] + b"}]}"),
        (b'"n":12}', ANSWER[: ANSWER.index(b',"usage"')].removesuffix(b"]") + b"]}"),
        (b'{"in":11', ANSWER[: ANSWER.index(b'"in"')] + b"}}"),
        (b'{"in":11}', ANSWER),
    ],
)
def test_what_came_whole_stays_and_the_text_up_to_where_it_breaks_off(until: bytes, found: bytes) -> None:
    assert mended(ANSWER[: ANSWER.index(until) + len(until)]) == found


def test_what_is_no_json_is_nothing() -> None:
    assert mended(b"") == mended(b"<html>") == mended(b'{"a":[1}') == b""
    assert mended(b"[" * (DEEPEST + 1)) == b""
    assert mended(b"[" * DEEPEST) == b"[" * DEEPEST + b"]" * DEEPEST
    assert mended(b'["' + b"x" * LONGEST) == b""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, min_size=1), st.booleans(), st.integers(min_value=1))
def test_every_cut_of_an_object_is_an_object(value: dict[str, Any], escaped: bool, place: int) -> None:
    whole = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "replace")
    cut = whole[: 1 + place % len(whole)]
    assert set(msgspec.json.decode(mended(cut))) <= set(json.loads(whole))
    assert mended(whole) == whole
