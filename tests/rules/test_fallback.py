"""What follows a fault (LLM 5.11)."""

from __future__ import annotations

import pytest

from tidegate.exchange.fault import GATEWAY, NOT_PROCESSED, UPSTREAM, Fault
from tidegate.rules.fallback import ATTEMPTS, Next, after, row_of


def upstream(code: str, reason: str = "", **more: float) -> Fault:
    return Fault(code, reason=reason, side=UPSTREAM, retry_after=more.get("retry_after", 0.0))


@pytest.mark.parametrize(
    ("fault", "again", "another", "counts"),
    [
        (upstream("invalid_request"), False, False, ""),
        (upstream("context_length"), False, True, ""),
        (upstream("content_policy"), False, False, ""),
        (upstream("bad_upstream", "upstream_auth"), False, True, "credential"),
        (upstream("bad_upstream", "upstream_denied"), False, True, "credential_model"),
        (upstream("bad_upstream", "upstream_quota"), False, True, "credential"),
        (upstream("model_not_found"), False, True, "provider_model"),
        (upstream("rate_limited"), True, True, "credential_model"),
        (upstream("overloaded"), True, True, "target"),
        (upstream("bad_upstream", "reset"), True, True, "target"),
        (upstream("upstream_timeout"), False, True, "target"),
        (upstream("upstream_unavailable", "connect_failed"), True, True, "target"),
        (Fault("rate_limited", side=GATEWAY), False, False, ""),
        (Fault("overloaded", side=GATEWAY), False, True, ""),
        (Fault("translation_loss"), False, True, ""),
        (Fault("budget_exceeded"), False, False, ""),
    ],
)
def test_each_fault_has_its_row(fault: Fault, again: bool, another: bool, counts: str) -> None:
    assert row_of(fault) == (again, another, counts)


def test_a_policy_refusal_goes_on_only_where_the_model_says_so() -> None:
    assert row_of(upstream("content_policy"), frozenset({"policy"})).next


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, Next("again", 0.1)),
        ({"tries": 2}, Next("next")),
        ({"tries": 2, "others": False}, Next("end")),
        ({"attempts": ATTEMPTS}, Next("end")),
        ({"left": 0.05}, Next("next")),
        ({"left": 0.0}, Next("end")),
        ({"once": True}, Next("end")),
    ],
)
def test_tries_attempts_deadline_and_side_effects_bound_it(settings: dict[str, object], wanted: Next) -> None:
    fault = upstream("bad_upstream")
    values = {"tries": 1, "retry": 1, "attempts": 1, "others": True, "left": 9.0, "pause": 0.1, **settings}
    assert after(fault, row_of(fault), **values) == wanted  # type: ignore[arg-type]


def test_a_vendors_delay_is_waited_for_only_where_nobody_else_can_serve() -> None:
    fault = upstream("rate_limited", retry_after=2.0)
    values = {"tries": 1, "retry": 1, "attempts": 1, "left": 9.0, "pause": 0.1}
    assert after(fault, row_of(fault), others=True, **values) == Next("next")  # type: ignore[arg-type]
    assert after(fault, row_of(fault), others=False, **values) == Next("again", 2.0)  # type: ignore[arg-type]
    long = upstream("rate_limited", retry_after=400.0)
    assert after(long, row_of(long), others=False, **values) == Next("end")  # type: ignore[arg-type]


def test_what_provably_was_not_processed_goes_round_even_if_it_changes_state() -> None:
    fault = Fault("upstream_unavailable", reason="connect_failed", side=UPSTREAM, retry=NOT_PROCESSED)
    assert after(
        fault, row_of(fault), tries=1, retry=1, attempts=1, others=False, left=9.0, pause=0.1, once=True
    ) == Next("again", 0.1)
