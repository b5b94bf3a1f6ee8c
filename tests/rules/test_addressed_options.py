"""What a client says to one provider only (LLM 5.12)."""

from __future__ import annotations

import json

import pytest

from tidegate.rules.addressed_options import merge_options, read_options
from tidegate.wire.json_object import WrongShape, encode, raw_of


def test_options_are_objects_by_name() -> None:
    assert read_options(b'{"a":{"x":1},"b":{}}') == {"a": b'{"x":1}', "b": b"{}"}
    with pytest.raises(WrongShape, match=r"provider_options\.a"):
        read_options(b'{"a":1}')
    with pytest.raises(WrongShape, match="provider_options"):
        read_options(b"[]")


def test_objects_merge_member_by_member_and_other_values_replace() -> None:
    body: dict[str, object] = {"raw": raw_of(b'{"in":{"a":1},"b":2}'), "plain": {"c": 3}, "one": 1}
    options = {"p": b'{"raw":{"in":{"z":9}},"plain":{"d":[4]},"one":{"two":2},"new":null}'}
    assert merge_options(body, options, ("p",)) == []
    assert json.loads(encode(body)) == {
        "raw": {"in": {"a": 1, "z": 9}, "b": 2}, "plain": {"c": 3, "d": [4]}, "one": {"two": 2}, "new": None,
    }  # fmt: skip


def test_only_the_addressed_are_merged_in_their_order() -> None:
    body: dict[str, object] = {}
    options = {"dialect": b'{"x":1,"y":1}', "name": b'{"x":2}', "other": b'{"z":1}'}
    assert merge_options(body, options, ("dialect", "name", "absent")) == []
    assert json.loads(encode(body)) == {"x": 2, "y": 1}


@pytest.mark.parametrize("name", ["model", "messages", "contents", "system", "stream", "api_key", "stream_options"])
def test_what_is_asked_of_whom_cannot_be_set(name: str) -> None:
    body: dict[str, object] = {name: 1}
    assert merge_options(body, {"p": json.dumps({name: 2}).encode()}, ("p",)) == [f"provider_options.p.{name}"]
    assert body == {name: 1}


def test_bounds_that_money_is_set_aside_by_are_not_set_behind_its_back() -> None:
    body: dict[str, object] = {"generationConfig": {"maxOutputTokens": 5}, "max_tokens": 5}
    said = {
        "n": 50, "max_tokens": 99, "max_completion_tokens": 99, "maxOutputTokens": 9, "best_of": 9, "background": True,
        "generationConfig": {"max_output_tokens": 9, "candidateCount": 8, "seed": 1},
        "options": {"num_predict": -1, "num_ctx": 5}, "schema": {"n": 1},
    }  # fmt: skip
    losses = merge_options(body, {"p": json.dumps(said).encode()}, ("p",))
    assert json.loads(encode(body)) == {
        "generationConfig": {"maxOutputTokens": 5, "seed": 1}, "max_tokens": 5, "options": {"num_ctx": 5},
        "schema": {"n": 1},
    }  # fmt: skip
    assert "provider_options.p.n" in losses and "provider_options.p.generationConfig.candidateCount" in losses
    assert len(losses) == 9
