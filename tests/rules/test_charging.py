"""All or none (S9.7), told as S9.9 says, rehearsed as S9.11 says."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fakes import FakePolicy, exchange
from tidegate.exchange.fault import Fault
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.rules.charging import Bucket, Charging
from tidegate.rules.partition import partition_by

NO = Verdict(False, 0, 3.0, 2.2)
STUCK = Fault("limiter_unavailable")


def finish(result: Coroutine[Any, Any, None] | None) -> None:
    """Run what ``charge`` gave to its end. (``fakes.finish`` does not know the coroutines of compiled code.)"""
    if result is not None:
        with pytest.raises(StopIteration):
            result.send(None)


class Desk:
    """Two policies, what was counted, and the buckets made of them."""

    def __init__(self) -> None:
        self.a = FakePolicy(LimitSpec("a", "rate", 10))
        self.b = FakePolicy(LimitSpec("b", "window", 60, 60.0))
        self.counted: list[str] = []

    def bucket(self, policy: FakePolicy, **settings: bool) -> Bucket:
        name = policy.spec.name

        def counter(decision: str) -> Callable[[int], None]:
            return lambda amount: self.counted.extend([f"{name}:{decision}"] * amount)

        return Bucket(
            name, policy.take, policy.give_back, partition_by("ip"), counter,
            quota=policy.spec.amount, policy=f'"{name}";q={policy.spec.amount}', **settings,
        )  # fmt: skip

    def both(self, *, compat: bool = False, rehearse_b: bool = False) -> Charging:
        buckets = [self.bucket(self.a), self.bucket(self.b, dry_run=rehearse_b)]
        return Charging(buckets, "rate_limited", Verdict, compat)

    def one(self, **settings: bool) -> Charging:
        return Charging([self.bucket(self.a, **settings)], "rate_limited", Verdict)


CHARGE = ("default|ip:192.0.2.1", 1)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("waits", [False, True])
def test_one_policy_that_allows_is_charged_and_told(desk: Desk, waits: bool) -> None:
    x = exchange()
    desk.a.wait = waits
    finish(desk.one().charge(x))
    assert desk.a.taken == [CHARGE]
    assert x.answer_fields == [("ratelimit-policy", '"a";q=10'), ("ratelimit", '"a";r=9;t=1')]
    assert x.limits == '"a";r=9;t=1'
    assert desk.counted == ["a:allow"]


@pytest.mark.parametrize("waits", [False, True])
def test_a_later_refusal_can_undo_the_charge_s9_7(desk: Desk, waits: bool) -> None:
    x = exchange()
    desk.a.wait = waits
    finish(desk.one().charge(x))
    assert x.refunds is not None and x.releases is None
    x.refunds[0]()
    assert desk.a.returned == [CHARGE]


@pytest.mark.parametrize("waits", [False, True])
def test_a_slot_is_given_back_at_the_end_and_not_before_s9_3(desk: Desk, waits: bool) -> None:
    x = exchange()
    desk.a.wait = waits
    finish(desk.one(concurrent=True).charge(x))
    assert x.refunds is None and x.releases is not None
    x.releases[0]()
    assert desk.a.returned == [CHARGE]


@pytest.mark.parametrize("waits", [False, True])
def test_a_refusal_names_policy_and_wait_s9_9(desk: Desk, waits: bool) -> None:
    x = exchange()
    desk.a.wait, desk.a.verdicts = waits, [NO]
    with pytest.raises(Fault) as refused:
        finish(desk.one().charge(x))
    fault = refused.value
    assert (fault.code, fault.status, fault.retry_after) == ("rate_limited", 429, 3.0)
    assert fault.fields == [("ratelimit-policy", '"a";q=10'), ("ratelimit", '"a";r=0;t=3')]
    assert fault.extra == {"violated-policies": ["a"]}
    assert (x.refunds, x.releases, x.answer_fields) == (None, None, None)
    assert (desk.a.returned, desk.counted) == ([], ["a:deny"])


def test_what_can_never_pass_is_refused_without_a_wait_s9_1(desk: Desk) -> None:
    desk.a.verdicts = [Verdict(False, 3, 0.0, 0.0)]
    with pytest.raises(Fault) as refused:
        desk.one().charge(exchange())
    assert refused.value.retry_after == 0.0


@pytest.mark.parametrize("waits", ["", "a", "b", "ab"])
def test_a_refusal_by_one_gives_back_the_other_s9_7(desk: Desk, waits: str) -> None:
    x = exchange()
    desk.a.wait, desk.b.wait = "a" in waits, "b" in waits
    desk.b.verdicts = [NO]
    with pytest.raises(Fault) as refused:
        finish(desk.both().charge(x))
    assert desk.a.returned == [CHARGE]
    assert desk.b.returned == []
    assert (x.refunds, x.answer_fields) == (None, None)
    assert refused.value.extra == {"violated-policies": ["b"]}
    assert refused.value.fields == [
        ("ratelimit-policy", '"a";q=10, "b";q=60'), ("ratelimit", '"a";r=10;t=1, "b";r=0;t=3'),
    ]  # fmt: skip


def test_the_tightest_refusing_policy_sets_the_wait_s9_7(desk: Desk) -> None:
    desk.a.verdicts, desk.b.verdicts = [NO], [Verdict(False, 0, 40.0, 39.5)]
    with pytest.raises(Fault) as refused:
        desk.both().charge(exchange())
    assert refused.value.retry_after == 40.0
    assert refused.value.extra == {"violated-policies": ["a", "b"]}


@pytest.mark.parametrize("waits", ["", "a", "b", "ab"])
def test_both_allow_and_one_field_line_tells_both(desk: Desk, waits: str) -> None:
    x = exchange()
    desk.a.wait, desk.b.wait = "a" in waits, "b" in waits
    finish(desk.both().charge(x))
    assert x.answer_fields == [
        ("ratelimit-policy", '"a";q=10, "b";q=60'), ("ratelimit", '"a";r=9;t=1, "b";r=59;t=60'),
    ]  # fmt: skip
    assert x.refunds is not None and len(x.refunds) == 2


def test_compat_fields_show_the_tightest_policy(desk: Desk) -> None:
    x = exchange()
    desk.both(compat=True).charge(x)
    assert x.answer_fields is not None
    assert x.answer_fields[2:] == [
        ("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1"),
    ]  # fmt: skip


def test_a_rehearsal_counts_and_stays_silent_s9_11(desk: Desk) -> None:
    x = exchange()
    desk.b.verdicts = [NO]
    desk.both(rehearse_b=True).charge(x)
    assert x.answer_fields == [("ratelimit-policy", '"a";q=10'), ("ratelimit", '"a";r=9;t=1')]
    assert desk.counted == ["a:allow", "b:would_deny"]
    assert x.limits == '"b";r=0;would_deny, "a";r=9;t=1'


def test_a_rehearsal_alone_never_refuses_even_without_its_store(desk: Desk) -> None:
    x = exchange()
    charging = desk.one(dry_run=True)
    desk.a.verdicts = [NO, STUCK]
    charging.charge(x)
    charging.charge(x)
    assert x.answer_fields is None
    assert desk.counted == ["a:would_deny", "a:store_error"]


def test_a_store_that_denies_refuses_and_leaves_no_charge_behind_s9_6(desk: Desk) -> None:
    desk.b.verdicts = [STUCK]
    with pytest.raises(Fault) as refused:
        desk.both().charge(exchange())
    assert refused.value.code == "limiter_unavailable"
    assert desk.a.returned == [CHARGE]
    assert desk.counted == ["b:store_error"]


def test_an_exchange_cancelled_while_it_waits_pays_nothing(desk: Desk) -> None:
    class Cut(BaseException):
        pass

    desk.b.wait, desk.b.verdicts = True, []

    async def cut(verdict: Verdict) -> Verdict:
        raise Cut

    desk.b._later = cut  # type: ignore[method-assign]
    with pytest.raises(Cut):
        finish(desk.both().charge(exchange()))
    assert desk.a.returned == [CHARGE]


def test_a_request_without_partition_is_left_alone(desk: Desk) -> None:
    bucket = desk.bucket(desk.a)
    bucket.partition = partition_by("consumer", "skip")
    x = exchange()
    assert Charging([bucket], "rate_limited", Verdict).charge(x) is None
    assert (desk.a.taken, x.answer_fields) == ([], None)
