from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.rules.session_model import session_model, with_session_model

TALKS = {"expires_after": {"model": "no"}, "session": {"type": "realtime", "audio": {"model": "no"}, "model": "gpt"}}
WRITES = {"session": {"type": "transcription", "audio": {"input": {"transcription": {"language": "de", "model": "w"}}}}}


def test_the_model_of_a_session_that_talks_is_replaced_where_it_stands() -> None:
    body = json.dumps(TALKS, indent=2).encode()
    assert session_model(TALKS) == "gpt"
    assert with_session_model(body, TALKS, 'up-"m') == body.replace(b'"gpt"', b'"up-\\"m"')


def test_the_model_of_a_session_that_writes_down_is_the_one_that_listens() -> None:
    body = json.dumps(WRITES).encode()
    assert session_model(WRITES) == "w"
    assert with_session_model(body, WRITES, "up") == body.replace(b'"w"', b'"up"')


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ({}, None),
        ({"session": 7}, None),
        ({"session": {"type": "transcription", "model": "x", "audio": []}}, None),
        ({"session": {"model": 7}}, 7),
    ],
)
def test_a_session_without_a_model_has_none(members: dict[str, Any], found: Any) -> None:
    assert session_model(members) == found
