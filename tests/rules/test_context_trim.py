"""What gives way, in one step and in order (CRP 8.2, 8.3; #14, #47, #48)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.exchange.context import Item
from tidegate.exchange.context_policy import ContextPolicy, Keep, TokenBudget
from tidegate.exchange.fault import Fault
from tidegate.rules.context_trim import PLACEHOLDER_TOKENS, is_due, limit_of, reduce

NONE_KEPT = Keep(0, 0)


def item(id: str, tokens: int, type: str = "message", role: str = "user", **more: Any) -> Item:
    return Item(id=id, type=type, role=role, tokens=tokens, content=b'"x"', **more)


def policy(**more: Any) -> ContextPolicy:
    values: dict[str, Any] = {"keep": NONE_KEPT, "budget": TokenBudget(0, 0, 0.8, 0.5), "min_reclaim": 0.25, **more}
    return ContextPolicy("p", **values)


def pair(id: str, tokens: int) -> list[Item]:
    return [
        item("c" + id, 20, "tool_call", "assistant", call_id=id),
        item("r" + id, tokens, "tool_result", "tool", call_id=id),
    ]


def cut(history: list[Item], limit: int, used: int = 0, **more: Any) -> dict[str, str]:
    total = used or sum(each.tokens for each in history)
    return reduce(history, {}, total, limit, policy(**more)).elided


def test_the_limit_is_the_smaller_window_less_the_answer() -> None:
    assert limit_of(0, 8000, 1000) == 7000
    assert limit_of(5000, 8000, 1000) == 4000
    assert limit_of(5000, 0, 1000) == 4000
    assert limit_of(0, 0, 1000) == 0
    assert limit_of(100, 0, 1000) == 1


def test_it_is_due_above_the_trigger_and_never_without_a_limit() -> None:
    assert not is_due(800, 1000, policy()) and is_due(801, 1000, policy())
    assert not is_due(10**9, 0, policy())


def test_results_of_tools_go_first_the_oldest_before_the_others_and_only_as_far_as_the_target() -> None:
    history = [*pair("1", 300), *pair("2", 300), *pair("3", 300)]
    assert cut(history, 1000) == {"r1": "placeholder", "r2": "placeholder"}


def test_a_step_that_frees_too_little_is_not_taken_unless_the_prompt_exceeds_the_limit() -> None:
    history = [*pair("1", 200), item("a", 310), item("b", 310)]
    assert cut(history, 1000, order=("clear_tool_results",)) == {}
    assert cut(history, 1000, order=("clear_tool_results",), used=1001) == {"r1": "placeholder"}


def test_reasoning_and_doubled_documents_have_steps_of_their_own() -> None:
    history = [item("t", 300, "reasoning", "assistant"), item("m", 100), item("n", 500)]
    assert cut(history, 1000, order=("drop_reasoning",)) == {"t": "dropped"}
    twice = [item("d", 300, "document"), item("e", 300, "document"), item("m", 300)]
    assert cut(twice, 1000, order=("dedupe_documents",)) == {"d": "placeholder"}


def test_the_oldest_go_by_priority_then_rank_then_age() -> None:
    history = [
        item("low", 200, priority=1),
        item("a", 200),
        item("doc", 200, "document"),
        item("b", 200),
        item("c", 100),
    ]
    assert list(cut(history, 1000, order=("drop_oldest",))) == ["low", "doc", "a"]
    assert list(cut(history, 600, order=("drop_oldest",))) == ["low", "doc", "a", "b"]


def test_14_half_a_pair_is_never_dropped_alone() -> None:
    history = [*pair("1", 500), item("a", 10, pinned=True)]
    assert cut(history, 400, order=("drop_oldest",), used=530) == {"r1": "placeholder"}
    small = [*pair("1", 35), item("a", 10, pinned=True)]
    assert cut(small, 40, order=("drop_oldest",), used=65) == {"r1": "dropped", "c1": "dropped"}
    pinned = [*pair("1", 500), item("a", 200)]
    pinned[0] = item("c1", 20, "tool_call", "assistant", call_id="1", pinned=True)
    assert cut(pinned, 800, order=("drop_oldest",)) == {"a": "dropped"}


def test_48_first_and_last_turns_and_what_is_pinned_stay() -> None:
    turns = [each for n in range(6) for each in (item(f"u{n}", 100), item(f"a{n}", 100, role="assistant"))]
    turns[4] = item("u2", 100, pinned=True)
    turns[6] = item("u3", 100, elide="never")
    assert cut(turns, 1400, keep=Keep(1, 1)) == dict.fromkeys(["u1", "a1", "a2", "a3", "u4"], "dropped")


def test_what_was_elided_stays_elided_and_is_not_counted_twice() -> None:
    history = [*pair("1", 300), *pair("2", 300), item("a", 300)]
    done = reduce(history, {"r1": "placeholder"}, 670, 800, policy())
    assert done.elided == {"r1": "placeholder", "r2": "placeholder"}
    assert [told.id for told in done.told] == ["r2"]
    assert done.used == 670 - 300 + PLACEHOLDER_TOKENS


def test_without_truncation_what_does_not_fit_is_refused() -> None:
    with pytest.raises(Fault) as refused:
        cut([item("a", 900)], 800, order=(), on_overflow="error")
    assert (refused.value.code, refused.value.status) == ("context_overflow", 413)


def test_forced_kept_turns_go_before_pinned_ones_and_those_only_to_the_limit() -> None:
    history = [item("p", 300, pinned=True), item("q", 300, pinned=True), item("a", 300), item("b", 300)]
    assert cut(history, 1000, keep=Keep(9, 9)) == {"a": "dropped", "b": "dropped"}
    assert cut(history, 500, keep=Keep(9, 9)) == {"a": "dropped", "b": "dropped", "p": "dropped"}
