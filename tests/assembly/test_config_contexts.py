from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tidegate.assembly.config_contexts import ContextPolicy, LlmContexts, Repository


def test_an_empty_repository_is_sqlite_that_survives_the_process_and_fails_closed() -> None:
    item = Repository()
    assert (item.use, item.durability, item.on_outage, item.ttl) == ("sqlite", "process", "fail_closed", 30 * 86_400)


def test_words_of_the_place_are_left_to_it() -> None:
    item = Repository.model_validate({"use": "valkey", "url": "redis://there", "ttl": "7d"})
    assert (item.settings, item.ttl) == ({"url": "redis://there"}, 7 * 86_400)


def test_a_route_of_models_keeps_hints_and_serves_every_level_by_default() -> None:
    item = LlmContexts()
    assert (item.policy, item.implicit, item.levels) == ("chat-default", "hints", ("implicit", "id", "delta", "merge"))


def test_a_policy_sets_nothing_by_itself() -> None:
    assert ContextPolicy(name="mine").model_dump(exclude_none=True) == {"name": "mine"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budget": {"trigger": 0.5, "target": 0.8}}, "target is above trigger"),
        ({"budget": {"trigger": 80}}, "less than or equal to 1"),
        ({"order": ["forget"]}, "clear_tool_results"),
        ({"order": ["summarize", "summarize"]}, "stands here twice"),
        ({"keep": {"colour": "red"}}, "Extra inputs"),
        ({"recall": {"place": "system"}}, "tail"),
        ({"caps": ["name"]}, "budget"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ContextPolicy.model_validate({"name": "mine", **wrong})


@pytest.mark.parametrize(
    "wrong", [{"ttl": "401d"}, {"ttl": 0}, {"on_outage": "ignore"}, {"durability": "none"}, {"use": "../x"}]
)
def test_a_repository_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Repository.model_validate(wrong)
