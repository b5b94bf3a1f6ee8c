"""Policies paid from leases, with an authority played by hand (S9.4, S9.6, S9.3)."""

from __future__ import annotations

import inspect

import pytest

from limit_fakes import RATE, Hand
from tidegate.authorities.leased import LeasedPolicy
from tidegate.ports.authority import LimitSpec, Verdict


def test_the_first_take_asks_and_the_next_ones_are_answered_at_once() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    first, second = hand.take(policy), hand.take(policy)
    assert hand.end_turn() == [
        {
            "kind": "want",
            "items": [[policy.number, "rate", "a", "rate", 100, 1_000_000_000, 200, "", "UTC", 1, 2, 0, 0]],
        }
    ]
    assert first == second == []
    hand.grant(policy, 100, free=100)
    assert first == [Verdict(True, 199, 0.01)]
    assert second == [Verdict(True, 198, 0.01)]
    assert policy.take("a", 8) == Verdict(True, 190, 0.01)
    hand.time += 0.055
    assert policy.take("a") == Verdict(True, 194, 0.01)
    hand.time += 3.0
    assert policy.take("a") == Verdict(True, 199, 0.01)
    assert hand.end_turn() == []


def test_those_who_came_while_the_answer_was_under_way_ask_again_when_it_is_not_enough() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    first = hand.take(policy)
    hand.end_turn()
    late = hand.take(policy, cost=3)
    hand.grant(policy, 2, lease=7)
    assert first[0].allowed and late == []
    [message] = hand.end_turn()
    assert message["items"][0][-4:] == [3, 3, 7, 1]
    hand.grant(policy, 3, lease=8)
    assert late[0].allowed


def test_s9_4_a_no_stands_for_the_wait_it_names() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    said = hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 0, wait=0.5)
    assert said == [Verdict(False, 0, 0.01, 0.5)]
    hand.time += 0.2
    assert policy.take("a") == Verdict(False, 0, 0.01, pytest.approx(0.3))
    assert hand.end_turn() == []
    hand.time += 0.4
    later = hand.take(policy)
    assert later == [] and len(hand.end_turn()) == 1


def test_a_no_to_a_large_cost_leaves_small_ones_alone() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    hand.take(policy, cost=50)
    hand.end_turn()
    hand.grant(policy, 0, free=10, wait=5)
    assert isinstance(policy.take("a", 60), Verdict)
    small = hand.take(policy, cost=5)
    hand.end_turn()
    hand.grant(policy, 5)
    assert small[0].allowed


def test_s9_1_a_cost_over_the_burst_can_never_pass_and_nobody_is_asked() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    assert policy.take("a", 201) == Verdict(False, 200, 0.01, 0.0)
    assert hand.end_turn() == []


def test_s9_4_a_no_is_asked_about_again_when_units_on_lease_may_be_back_and_clients_hear_the_whole_wait() -> None:
    hand = Hand(workers=2)
    policy = hand.limits.policy(LimitSpec("f", "fixed", 5, 3600.0))
    said = hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 0, wait=3600.0, stands=0.5, more=hand.time + 3600.0)
    assert said == [Verdict(False, 0, 3600.0, 3600.0)]
    hand.time += 0.25
    assert policy.take("a") == Verdict(False, 0, 3599.75, 3599.75)
    hand.time += 0.25
    again = hand.take(policy)
    assert len(hand.end_turn()) == 1
    hand.grant(policy, 1)
    assert again[0].allowed


def test_s9_4_units_that_return_end_the_no_that_missed_them() -> None:
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("f", "fixed", 5, 3600.0))
    hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 0, wait=3600.0)
    policy.give_back("a", 1, taken=hand.time - 10.0)
    hand.take(policy)
    refund, want = hand.end_turn()
    assert refund == {"kind": "refund", "items": [["f", "a", 1, 40_000_000_000]]}
    assert want["kind"] == "want"


def test_s9_4_of_two_grants_the_older_goes_home_whole_and_neither_is_lost() -> None:
    """An ask that was given up is answered after all, and so is the next one."""
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("f", "fixed", 500, 3600.0))
    hand.take(policy)
    hand.end_turn()
    hand.limits.disconnected()
    hand.time += 1.0
    said = hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 250, lease=1, free=250)
    hand.grant(policy, 100, lease=2, free=150, wait=3600.0)
    assert said[0].remaining == 499
    assert hand.tick() == [{"kind": "back", "items": [["f", "a", 1, 249]]}]
    assert policy.take("a") == Verdict(True, 99 + 150 + 249, 0.0)


def test_s9_4_a_bucket_that_was_forgotten_does_not_take_the_next_one_of_its_name_along() -> None:
    """It may be due to be looked at once more; whoever waits for an answer by then is not its business."""
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("f", "fixed", 500, 3600.0))
    hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 1, lease=1, until=hand.time + 0.1)
    hand.limits.receive({"kind": "recall", "items": [[policy.number, "a", 1]]})
    former = policy.buckets["a"]
    policy.look(former, hand.time)
    assert policy.buckets == {}
    hand.end_turn()
    said = hand.take(policy)
    hand.end_turn()
    policy.look(former, hand.time)
    hand.tick(0.2)
    hand.grant(policy, 1, lease=2)
    assert said[0].allowed


def test_s9_4_a_late_authority_is_waited_for_and_nothing_is_let_through_in_its_place() -> None:
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("f", "fixed", 500, 3600.0))
    said = hand.take(policy)
    hand.end_turn()
    for _ in range(8):
        hand.tick()
    assert said == []
    hand.grant(policy, 0, wait=3600.0, more=hand.time + 3600.0)
    assert not said[0].allowed


def test_s9_6_a_bucket_told_to_be_used_up_has_no_unit_to_start_with() -> None:
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("f", "fixed", 500, 3600.0))
    hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 1, free=0, more=hand.time + 3600.0)
    hand.limits.disconnected()
    last = policy.take("a")
    assert isinstance(last, Verdict) and not last.allowed


def test_s9_4_a_lease_is_not_spent_after_its_end_and_its_rest_goes_home() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 10, until=hand.time + 1.0)
    hand.time += 1.0
    verdict = policy.take("a")
    assert inspect.iscoroutine(verdict)
    verdict.close()
    assert hand.tick(0.02) == [{"kind": "back", "items": [["rate", "a", 7, 9]]}]
    assert policy.buckets == {}


def test_a_grant_that_comes_after_its_end_is_returned_and_asked_for_again() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    said = hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 10, until=hand.time - 0.001)
    back, want = hand.end_turn()
    assert back["items"] == [["rate", "a", 7, 10]]
    assert want["kind"] == "want" and said == []
    hand.grant(policy, 10, until=hand.time - 0.001)
    assert said == [] and len(hand.end_turn()) == 2
    hand.grant(policy, 10, until=hand.time - 0.001)
    assert said[0].allowed, "nobody waits for ever: the third time it is decided here"
    assert policy.buckets["a"].debt == 1


def test_s9_4_a_recall_returns_the_lease_at_once() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 10)
    hand.limits.receive({"kind": "recall", "items": [[policy.number, "a", 6], [policy.number, "a", 7]]})
    assert hand.end_turn() == [{"kind": "back", "items": [["rate", "a", 7, 9]]}]
    again = policy.take("a")
    assert inspect.iscoroutine(again)
    again.close()


def test_s9_7_what_was_taken_just_now_returns_to_the_lease_and_older_units_to_the_authority() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    hand.take(policy, cost=3)
    hand.end_turn()
    hand.grant(policy, 10)
    policy.give_back("a", 2)
    assert policy.buckets["a"].left == 9
    policy.give_back("a", 2)
    assert policy.buckets["a"].left == 9, "a lease never grows over what was granted"
    policy.give_back("a", 1, taken=hand.time - 1.0)
    assert policy.buckets["a"].left == 9
    assert hand.tick() == [{"kind": "back", "items": [["rate", "a", 0, 3]]}]


def test_a_taker_who_left_is_charged_nothing() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    hand.take(policy)
    hand.stepper.cancel()
    second = hand.take(policy)
    [message] = hand.end_turn()
    assert message["items"][0][-4:-2] == [1, 1]
    hand.grant(policy, 1)
    assert second[0].allowed


def test_the_window_tells_when_more_comes() -> None:
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("w", "window", 10, 60.0))
    said = hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 2, free=8, more=hand.time + 61.0)
    assert said == [Verdict(True, 9, 61.0)]


def test_s9_6_without_a_link_a_local_share_starts_at_one_unit_and_refills_at_its_part() -> None:
    hand = Hand(workers=4)
    hand.link = False
    policy = hand.limits.policy(RATE)
    first = hand.take(policy)
    hand.end_turn()
    assert first[0].allowed
    refused = policy.take("a")
    assert isinstance(refused, Verdict) and not refused.allowed
    assert refused.retry_after == pytest.approx(0.04)
    hand.time += 0.0401
    again = policy.take("a")
    assert isinstance(again, Verdict) and again.allowed


def test_s9_6_what_is_owed_is_paid_even_if_it_is_all_that_a_bucket_holds() -> None:
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("tiny", "rate", 1, 1.0))
    owe_one(hand, policy)
    said = hand.take(policy)
    [message] = hand.end_turn()
    assert message["items"][0][-4:-2] == [1, 2]
    hand.grant(policy, 1, wait=1.0)
    assert not said[0].allowed
    hand.time += 1.001
    again = hand.take(policy)
    assert hand.end_turn()[0]["items"][0][-4:-2] == [1, 1]
    hand.grant(policy, 1)
    assert again[0].allowed


def test_s9_6_leases_are_spent_before_the_local_share() -> None:
    hand = Hand(workers=4)
    policy = hand.limits.policy(RATE)
    hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 4)
    hand.limits.disconnected()
    verdicts = [policy.take("a") for _ in range(5)]
    assert [isinstance(verdict, Verdict) and verdict.allowed for verdict in verdicts] == [True] * 4 + [False]


def test_s9_6_allow_and_deny_do_as_they_say() -> None:
    hand = Hand()
    hand.link = False
    allow = hand.limits.policy(LimitSpec("x", "rate", 1, on_store_error="allow"))
    deny = hand.limits.policy(LimitSpec("x", "rate", 1, on_store_error="deny"))
    said = [hand.take(allow), hand.take(allow), hand.take(deny)]
    hand.end_turn()
    assert said[0][0].allowed and said[1][0].allowed
    fault = said[2][0]
    assert (fault.code, fault.status, fault.retry_after) == ("limiter_unavailable", 503, 1.0)


def owe_one(hand: Hand, policy: LeasedPolicy) -> None:
    """Three grants in a row come after their end: the one who waits is let through, and that is owed."""
    said = hand.take(policy)
    hand.end_turn()
    for lease in (1, 2, 3):
        hand.grant(policy, 1, lease=lease, until=hand.time - 0.01)
        hand.end_turn()
    assert said[0].allowed and policy.buckets["a"].debt == 1
    hand.tick(0.0)


def test_s9_6_what_is_let_through_because_grants_come_too_late_is_owed() -> None:
    hand = Hand(workers=2)
    policy = hand.limits.policy(RATE)
    owe_one(hand, policy)
    assert not hand.limits.gone
    hand.take(policy, cost=2)
    [message] = hand.end_turn()
    assert message["items"][0][-4:-2] == [3, 3]
    hand.grant(policy, 10)
    assert policy.buckets["a"].left == 7


def test_s9_3_slots_are_lent_and_returned_here_and_spare_ones_go_home() -> None:
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("s", "concurrent", 4))
    hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 2)
    assert policy.take("a") == Verdict(True, 0, 1.0)
    policy.give_back("a")
    policy.give_back("a")
    assert policy.take("a") == Verdict(True, 1, 1.0)
    policy.give_back("a")
    assert hand.tick(0.02) == [{"kind": "back", "items": [["s", "a", -1, 2]]}]
    assert policy.buckets == {}


def test_s9_3_a_refused_slot_is_not_asked_for_at_once() -> None:
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("s", "concurrent", 4))
    said = hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 0, wait=1e-9)
    assert said == [Verdict(False, 0, 1.0, 1.0)]
    assert policy.take("a") == Verdict(False, 0, 1.0, 1.0)
    hand.time += 0.03
    later = hand.take(policy)
    assert len(hand.end_turn()) == 1 and later == []


def test_s9_3_slots_taken_while_nobody_answered_are_owed() -> None:
    hand = Hand()
    policy = hand.limits.policy(LimitSpec("s", "concurrent", 4))
    hand.take(policy)
    hand.end_turn()
    for _ in range(5):
        assert hand.tick(0.06) == []
    assert policy.buckets["a"].used == 1
    hand.time += 1.0
    hand.take(policy)
    [message] = hand.end_turn()
    assert message["items"][0][-4:] == [2, 2, -1, 0]
