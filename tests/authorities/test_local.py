"""The worker's side of the authority: what it sends, and when it gives up (S9.4, S9.6)."""

from __future__ import annotations

import pytest

from limit_fakes import RATE, Hand
from tidegate.ports.authority import LimitSpec


def test_asks_of_one_turn_travel_together_and_a_bucket_has_one_under_way() -> None:
    hand = Hand()
    rate, other = hand.limits.policy(RATE), hand.limits.policy(LimitSpec("w", "window", 5, 60.0))
    hand.take(rate, "a")
    hand.take(rate, "b")
    hand.take(other, "a")
    hand.take(rate, "a")
    [message] = hand.end_turn()
    assert [item[1:3] for item in message["items"]] == [["rate", "a"], ["rate", "b"], ["w", "a"]]
    hand.take(rate, "a")
    assert hand.end_turn() == []


@pytest.mark.parametrize("phase", [0.0, 0.001, 0.0049, 0.0051, 0.0099])
def test_s9_6_a_lone_key_is_answered_here_within_100_ms_of_silence(phase: float) -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    hand.time += phase
    first = hand.take(policy)
    hand.end_turn()
    hand.time = 50.0
    for _ in range(8):
        assert hand.tick() == [], "the link loses nothing: nothing is asked twice"
    assert first == [] and not hand.limits.gone
    while first == [] and hand.time < 50.2:
        hand.tick()
    assert first[0].allowed and hand.time - 50.0 - phase < 0.1001
    assert (policy.buckets["a"].debt, hand.limits.gone) == (1, False), (
        "it may only be late: what it lets through is owed"
    )
    for _ in range(2):
        said = hand.take(policy)
        hand.end_turn()
        for _ in range(10):
            hand.tick()
        assert said != []
    assert hand.limits.gone


def test_s9_6_five_failures_in_a_row_and_it_counts_as_gone_and_is_asked_once_a_second() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    first = hand.take(policy)
    others = [hand.take(policy, other) for other in "bcd"]
    hand.end_turn()
    hand.tick(0.03)
    last = hand.take(policy, "e")
    hand.end_turn()
    hand.tick(0.02)
    assert (hand.limits.failures, hand.limits.gone, first, last) == (4, False, [], [])
    assert hand.tick(0.03) == [], "the link loses nothing: nothing is asked twice"
    assert hand.limits.gone
    assert first[0].allowed and last[0].allowed and [other[0].allowed for other in others] == [True] * 3
    for _ in range(20):
        hand.take(policy)
        hand.tick(0.02)
    assert hand.end_turn() == []
    hand.time += 1.0
    probe = hand.take(policy)
    assert len(hand.end_turn()) == 1
    hand.take(policy)
    assert hand.end_turn() == []
    hand.grant(policy, 10)
    assert probe[0].allowed and not hand.limits.gone
    assert policy.buckets["a"].own is None


def test_s9_6_the_time_a_worker_itself_stood_still_is_not_held_against_the_authority() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    waiting = hand.take(policy)
    hand.end_turn()
    hand.time += 0.2
    hand.limits.pardon(0.19)
    hand.tick(0.0)
    assert waiting == [] and hand.limits.failures == 0
    hand.tick(0.05)
    assert waiting == [] and hand.limits.failures == 1


def test_s9_6_one_ask_that_is_never_answered_does_not_hang_while_others_are() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    said = hand.take(policy, "lost")
    hand.end_turn()
    for _ in range(2):
        assert said == []
        hand.take(policy, "b", cost=5)
        hand.end_turn()
        hand.grant(policy, 5, "b")
        hand.tick(0.06)
    assert said[0].allowed and not hand.limits.gone
    assert policy.buckets["lost"].debt == 1


def test_s9_4_a_new_worker_keeps_its_first_asks_until_its_link_is_there_and_somebody_answers() -> None:
    """Control may still be starting: then nobody is refused, and nothing is admitted on our own."""
    hand = Hand(met=False)
    hand.link = False
    policy = hand.limits.policy(LimitSpec("f", "fixed", 500, 3600.0))
    said = [hand.take(policy) for _ in range(3)]
    assert hand.end_turn() == []
    for _ in range(30):
        hand.tick()
    hand.link = True
    hand.limits.connected()
    held, asked = hand.end_turn()
    assert held == {"kind": "hold", "items": []}
    assert [item[-4:] for item in asked["items"]] == [[1, 3, 0, 0]]
    for _ in range(60):
        assert hand.tick() == []
    assert said == [[], [], []] and not hand.limits.gone
    hand.grant(policy, 250, free=250, more=hand.time + 3600)
    assert [verdict.remaining for [verdict] in said] == [499, 498, 497]


def test_s9_4_a_link_lost_before_the_first_answer_loses_no_ask() -> None:
    hand = Hand(met=False)
    policy = hand.limits.policy(RATE)
    said = hand.take(policy)
    assert len(hand.end_turn()) == 1
    hand.limits.disconnected()
    assert said == []
    hand.limits.connected()
    assert [message["kind"] for message in hand.end_turn()] == ["hold", "want"]
    hand.grant(policy, 5)
    assert said[0].allowed


def test_s9_6_a_second_without_an_answer_and_a_new_worker_decides_alone() -> None:
    hand = Hand(met=False)
    hand.link = False
    policy = hand.limits.policy(RATE)
    said = [hand.take(policy), hand.take(policy)]
    hand.end_turn()
    for _ in range(99):
        hand.tick()
    assert said == [[], []]
    hand.tick(0.02)
    assert [verdict.allowed for [verdict] in said] == [True, False]
    assert hand.limits.gone


def test_s9_6_a_lease_whose_ask_could_not_be_sent_is_still_here_and_its_rest_goes_home_later() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 3)
    hand.link = False
    hand.take(policy, cost=5)
    hand.end_turn()
    assert [policy.buckets["a"].lease, policy.buckets["a"].left] == [7, 2]
    hand.tick(5.1)
    hand.link = True
    hand.limits.connected()
    assert hand.tick() == [{"kind": "hold", "items": []}, {"kind": "back", "items": [["rate", "a", 7, 2]]}]


def test_s9_6_the_link_that_comes_back_ends_the_local_share_and_tells_of_the_slots_held() -> None:
    hand = Hand()
    slots = hand.limits.policy(LimitSpec("s", "concurrent", 5))
    held = hand.take(slots, cost=2)
    hand.end_turn()
    hand.grant(slots, 3)
    hand.limits.disconnected()
    hand.limits.connected()
    assert held[0].allowed
    assert hand.sent == [{"kind": "hold", "items": [[slots.number, "s", "a", "concurrent", 5, 0, 5, "", "UTC", 3]]}]


def test_buckets_are_bounded_and_the_lease_of_a_forgotten_one_goes_home() -> None:
    hand = Hand(most=3)
    policy = hand.limits.policy(RATE)
    for name in "abcd":
        hand.take(policy, name)
        sent = hand.end_turn()
        hand.grant(policy, 5, name, lease=ord(name))
    assert list(policy.buckets) == ["b", "c", "d"]
    assert sent[0] == {"kind": "back", "items": [["rate", "a", ord("a"), 4]]}


def test_one_policy_object_for_one_spec_and_none_is_kept_for_a_plan_that_is_gone() -> None:
    hand = Hand()
    first = hand.limits.policy(RATE)
    assert hand.limits.policy(LimitSpec("rate", "rate", 100, 1.0, 200)) is first
    hand.limits.policy(LimitSpec("rate", "rate", 50))
    assert len(hand.limits.policies) == 1


def test_a_worker_that_stood_still_for_an_hour_catches_up() -> None:
    hand = Hand()
    policy = hand.limits.policy(RATE)
    hand.take(policy)
    hand.end_turn()
    hand.grant(policy, 5)
    assert hand.tick(3600.0) == [{"kind": "back", "items": [["rate", "a", 7, 4]]}]
    assert hand.limits.watched == {}
