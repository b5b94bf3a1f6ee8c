"""Policies are named and patched, within caps (CRP 8.1)."""

from __future__ import annotations

import pytest

from tidegate.exchange.context_policy import Compaction, ContextPolicy, Recall, TokenBudget
from tidegate.exchange.fault import Fault
from tidegate.rules.policy_choice import choose

POLICIES = {
    "plain": ContextPolicy("plain"),
    "other": ContextPolicy("other", order=()),
    "capped": ContextPolicy("capped", caps=frozenset({"budget"})),
}


def test_8_1_the_context_then_the_request_change_what_the_route_says() -> None:
    assert choose(POLICIES, "plain") is POLICIES["plain"]
    assert choose(POLICIES, "plain", b'"other"', b"").order == ()
    made = choose(
        POLICIES, "plain", b'{"recall":{"share":0.2,"place":"tail"}}',
        b'{"budget":{"max_input":"auto","trigger":0.9},"compact":{"deadline":"5s"},"keep":{"tool_pairs":"atomic"}}',
    )  # fmt: skip
    assert (made.recall, made.budget) == (Recall(share=0.2), TokenBudget(trigger=0.9))
    assert made.compact == Compaction(deadline=5.0)
    assert made.keep == POLICIES["plain"].keep


def test_8_1_caps_bound_what_a_patch_may_touch() -> None:
    made = choose(POLICIES, "capped", b'{"budget":{"max_input":9}}')
    assert (made.budget.max_input, made.caps) == (9, frozenset({"budget"}))
    with pytest.raises(Fault):
        choose(POLICIES, "capped", b'{"on_overflow":"error"}')


@pytest.mark.parametrize(
    "wish",
    [
        b'"unknown"', b"1", b"{", b'{"name":"x"}', b'{"caps":[]}', b'{"colour":1}', b'{"budget":1}',
        b'{"budget":{"colour":1}}', b'{"budget":{"target":0.9}}', b'{"budget":{"trigger":1.1}}',
        b'{"recall":{"share":0.6}}', b'{"order":["clear"]}', b'{"min_reclaim":-1}', b'{"budget":{"max_input":-1}}',
        b'{"compact":{"deadline":"soon"}}', b'{"recall":{"place":"head"}}',
    ],
)  # fmt: skip
def test_8_1_what_no_policy_says_is_refused(wish: bytes) -> None:
    with pytest.raises(Fault) as refused:
        choose(POLICIES, "plain", wish)
    assert (refused.value.code, refused.value.status) == ("policy_forbidden", 422)
