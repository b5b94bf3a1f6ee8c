"""Which endpoints may be used, and why not (S12, S11.6, S11.10)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tidegate.engine.segment import (
    AVERAGE,
    AVERAGE_AT,
    DOWN,
    EJECTED,
    HEALTH,
    IN_FLIGHT,
    UP,
    Row,
    Segment,
    ejection_word,
    health_word,
)
from tidegate.engine.upstream.health import Health
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import ResponseHead
from tidegate.ports.balancer import Endpoint
from tidegate.ports.plan import BreakerPlan, HealthPlan, SlowStartPlan, UpstreamPlan

T = 100.0


class First:
    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        return endpoints[0]

    def observe(self, endpoint: Endpoint, seconds: float, failed: bool, head: ResponseHead | None) -> None:
        pass


PLAN = UpstreamPlan("orders", (), First())
CHECKED = replace(PLAN, health=HealthPlan())


def endpoints(count: int, **settings: Any) -> list[Endpoint]:
    found = [Endpoint("orders", "http", f"10.0.0.{number}", 80, index=number, **settings) for number in range(count)]
    for endpoint in found:
        endpoint.slot = endpoint.index
    return found


def alone(count: int, plan: UpstreamPlan = PLAN) -> Health:
    return Health(plan, endpoints(count), None, T)


def node(workers: int, count: int, plan: UpstreamPlan = PLAN) -> tuple[Segment, list[Health]]:
    segment = Segment.local(workers)
    return segment, [Health(plan, endpoints(count), segment.row(index), T) for index in range(workers)]


def probed(segment: Segment, slot: int, state: int, since: float, passes: int = 0, beat: float = T) -> None:
    row = segment.row(segment.control)
    row.beat(beat)
    row.words[row.base + row.endpoint(slot) + HEALTH] = health_word(state, since, 0, passes)


def names(found: Sequence[Endpoint]) -> list[int]:
    return [endpoint.index for endpoint in found]


def fail(health: Health, number: int, now: float, kind: str = "connect", times: int = 5) -> None:
    for _ in range(times):
        health.started(health.endpoints[number])
        health.ended(health.endpoints[number], now, 0.001, kind)


# -- the verdict ---------------------------------------------------------------------------------------------------


def test_without_an_active_check_every_endpoint_is_up_s12_5() -> None:
    health = alone(3)
    assert names(health.candidates(T, 0.5)) == [0, 1, 2]
    assert health.settled()


def test_the_same_tuple_comes_back_while_nothing_changes() -> None:
    _, (health, _) = node(2, 3)
    first = health.candidates(T, 0.5)
    for step in range(1, 400):
        assert health.candidates(T + step * 0.01, 0.5) is first
    health.sweep(T + 5.0)
    assert health.candidates(T + 5.0, 0.5) is first


def test_an_endpoint_is_unused_until_its_first_pass_s12_5() -> None:
    segment, (health, _) = node(2, 3, CHECKED)
    assert health.candidates(T, 0.5) == () and not health.settled()
    probed(segment, 1, UP, T)
    probed(segment, 0, DOWN, T)
    assert names(health.candidates(T + 0.01, 0.5)) == [1]
    probed(segment, 2, UP, T)
    assert names(health.candidates(T + 0.02, 0.5)) == [1, 2]
    assert health.settled()


def test_never_probed_counts_as_up_after_three_seconds_without_a_prober_s12_3() -> None:
    health = alone(2, CHECKED)
    health.sweep(T + 2.9)
    assert health.candidates(T + 2.9, 0.5) == ()
    health.sweep(T + 3.0)
    assert names(health.candidates(T + 3.0, 0.5)) == [0, 1]
    assert health.settled()


def test_while_somebody_probes_the_unprobed_stay_out() -> None:
    segment, (health,) = node(1, 2, CHECKED)
    for second in range(1, 10):
        probed(segment, 0, UP, T, beat=T + second)
        health.sweep(T + second)
    assert names(health.candidates(T + 9.0, 0.5)) == [0]


def test_an_endpoint_that_found_no_slot_is_not_left_out_for_ever() -> None:
    segment = Segment.local(1, endpoints=1)
    health = Health(CHECKED, endpoints(2), segment.row(0), T)
    for second in range(1, 4):
        probed(segment, 0, DOWN, T, beat=T + second)
        health.sweep(T + second)
        assert names(health.candidates(T + second, 0.5)) == ([] if second < 3 else [1])
    assert health.settled()


def test_when_the_prober_is_gone_the_last_state_stays_s12_3() -> None:
    segment, (health,) = node(1, 3, CHECKED)
    probed(segment, 0, UP, T)
    probed(segment, 1, DOWN, T)
    health.sweep(T + 60.0)
    assert names(health.candidates(T + 60.0, 0.5)) == [0, 2]


def test_half_of_a_small_tier_down_shares_70_to_30_s11_10() -> None:
    segment = Segment.local(1)
    found = endpoints(4)
    found[2].priority = found[3].priority = 1
    for slot, state in enumerate((UP, DOWN, UP, UP)):
        probed(segment, slot, state, T)
    health = Health(CHECKED, found, segment.row(0), T)
    health.refresh(T)
    shown = Counter(tuple(names(health.candidates(T, number / 1000))) for number in range(1000))
    assert shown == {(0,): 700, (2, 3): 300}


def test_six_of_ten_down_is_panic_s12_8() -> None:
    segment, (health,) = node(1, 10, CHECKED)
    for slot in range(10):
        probed(segment, slot, DOWN if slot < 5 else UP, T)
    assert names(health.candidates(T, 0.5)) == [5, 6, 7, 8, 9] and not health.panicked
    probed(segment, 5, DOWN, T + 1)
    assert len(health.candidates(T + 1, 0.5)) == 10 and health.panicked


@pytest.mark.parametrize(("at_zero", "shown"), [("fail", 0), ("try_all", 6)])
def test_with_none_usable_it_fails_fast_or_tries_all_s12_8(at_zero: str, shown: int) -> None:
    segment, (health,) = node(1, 6, replace(CHECKED, at_zero=at_zero))
    for slot in range(6):
        probed(segment, slot, DOWN, T)
    assert len(health.candidates(T, 0.5)) == shown


def test_our_zone_comes_first_in_pools_of_six_s11_10() -> None:
    found = endpoints(6)
    for endpoint in found:
        endpoint.zone = "a" if endpoint.index < 3 else "b"
    assert names(Health(replace(PLAN, zone="a"), found, None, T).candidates(T, 0.99)) == [0, 1, 2]
    assert len(Health(replace(PLAN, zone="a"), found[1:], None, T).candidates(T, 0.5)) == 5


# -- passive detection -----------------------------------------------------------------------------------------------


def test_five_connect_failures_eject_at_once_s12_6() -> None:
    health = alone(3)
    fail(health, 1, T)
    assert names(health.candidates(T, 0.5)) == [0, 2]
    assert health.ejections == {"connect_failures": 1}
    assert health.sweep(T + 1.0) == []
    health.sweep(T + 31.0)
    assert names(health.candidates(T + 31.0, 0.5)) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["client", "cancelled"])
def test_client_errors_and_cancels_do_not_count_s12_6(kind: str) -> None:
    health = alone(3)
    fail(health, 1, T, kind, 500)
    assert health.sweep(T + 1.0) == []


def test_an_ejection_is_the_whole_nodes_s12_7() -> None:
    segment, (health, other) = node(2, 3)
    fail(health, 1, T)
    health.sweep(T + 1.0)
    assert names(other.candidates(T + 1.01, 0.5)) == [0, 2]
    assert other.explain(T + 1.01)[1]["no"][0]["reason"] == "connect_failures"
    fail(other, 2, T + 1.5)
    assert other.sweep(T + 2.0) == []
    health.sweep(T + 31.0)
    other.sweep(T + 31.1)
    assert names(other.candidates(T + 31.1, 0.5)) == [0, 1, 2]
    row = segment.row(0)
    assert row.words[row.base + row.endpoint(1) + EJECTED] == 0


def test_workers_that_eject_at_the_same_moment_do_not_take_the_last_ones_s12_7() -> None:
    _, (health, other) = node(2, 2)
    fail(health, 0, T)
    fail(other, 1, T)
    health.refresh(T + 1.0)
    other.refresh(T + 1.0)
    for one, number in ((health, 0), (other, 1)):
        one.outlier.eject(one.states[f"10.0.0.{number}:80"].seen, 1, T + 1.0, 0.0)
        one._say(one.states[f"10.0.0.{number}:80"], ejection_word(T + 1.0, 30.0, 1, 1))
        one.dirty = True
    assert names(health.candidates(T + 1.1, 0.5)) == [1]
    assert names(other.candidates(T + 1.1, 0.5)) == [0]


def test_a_row_freed_by_the_supervisor_ends_its_ejections_elsewhere() -> None:
    segment, (health, other) = node(2, 3)
    fail(health, 1, T)
    health.sweep(T + 1.0)
    other.refresh(T + 1.1)
    segment.free(0)
    assert names(other.candidates(T + 1.2, 0.5)) == [0, 1, 2]


def test_an_old_ejection_word_is_not_taken_up() -> None:
    segment, (health, _) = node(2, 3)
    row = segment.row(1)
    row.words[row.base + row.endpoint(0) + EJECTED] = ejection_word(T - 31.0, 30.0, 1, 1)
    assert names(health.candidates(T, 0.5)) == [0, 1, 2]


@pytest.mark.parametrize(("kind", "back"), [("connect", True), ("gateway", False), ("5xx", False)])
def test_rise_passing_probes_end_an_ejection_for_connection_faults_s12_7(kind: str, back: bool) -> None:
    segment, (health,) = node(1, 3, CHECKED)
    for slot in range(3):
        probed(segment, slot, UP, T, passes=40)
    health.refresh(T)
    fail(health, 1, T, kind)
    health.sweep(T + 1.0)
    assert names(health.candidates(T + 1.0, 0.5)) == [0, 2]
    probed(segment, 1, UP, T, passes=41)
    health.sweep(T + 2.0)
    assert names(health.candidates(T + 2.0, 0.5)) == [0, 2]
    probed(segment, 1, UP, T, passes=42)
    health.sweep(T + 3.0)
    assert names(health.candidates(T + 3.0, 0.5)) == ([0, 1, 2] if back else [0, 2])


def test_the_last_usable_endpoint_is_never_ejected_s12_7() -> None:
    segment, (health,) = node(1, 2, CHECKED)
    probed(segment, 0, DOWN, T)
    probed(segment, 1, UP, T)
    health.refresh(T)
    fail(health, 1, T)
    assert health.sweep(T + 1.0) == []
    assert names(health.candidates(T + 1.0, 0.5)) == [1]


def test_an_endpoints_own_breaker_ejects_under_the_same_caps_s13_1() -> None:
    health = alone(3, replace(PLAN, breaker=BreakerPlan(scope="endpoint", min_calls=4, window=10)))
    for number in (1, 2):
        for _ in range(2):
            fail(health, number, T + 1, "ok", 1)
            fail(health, number, T + 1, "5xx", 1)
    assert names(health.candidates(T + 1.1, 0.5)) == [0, 2]
    assert health.explain(T + 1.1)[1]["no"][0]["part"] == "breaker"
    health.sweep(T + 5.5)
    assert names(health.candidates(T + 5.5, 0.5)) == [0, 1, 2]
    fail(health, 1, T + 6, "5xx", 4)
    assert names(health.candidates(T + 6.1, 0.5)) == [0, 2]


# -- counts and averages ---------------------------------------------------------------------------------------------


def test_active_is_exact_for_this_worker_and_read_again_for_the_others() -> None:
    _, (health, other) = node(2, 2)
    mine, theirs = health.endpoints[0], other.endpoints[0]
    for _ in range(3):
        health.started(mine)
    other.started(theirs)
    assert (mine.active, theirs.active) == (3, 1)
    health.refresh(T + 0.01)
    other.refresh(T + 0.01)
    assert (mine.active, theirs.active) == (4, 4)
    health.ended(mine, T + 0.02, 0.01, "ok")
    other.refresh(T + 0.02)
    assert (mine.own_active, mine.active, theirs.active) == (2, 3, 3)


def test_a_refresh_happens_at_most_each_5_ms() -> None:
    _, (health, other) = node(2, 1)
    health.candidates(T, 0.5)
    other.started(other.endpoints[0])
    health.candidates(T + 0.004, 0.5)
    assert health.endpoints[0].active == 0
    health.candidates(T + 0.005, 0.5)
    assert health.endpoints[0].active == 1


def test_the_average_rises_at_once_and_falls_slowly_s11_6() -> None:
    health = alone(1)
    (endpoint,) = health.endpoints
    health.ended(endpoint, T, 0.1, "ok")
    assert endpoint.average == 0.1
    health.ended(endpoint, T + 10.0, 0.02, "ok")
    assert endpoint.average == pytest.approx(0.1 * 0.36787944 + 0.02 * 0.63212056)
    health.ended(endpoint, T + 10.0, 0.3, "client")
    assert (endpoint.average, endpoint.average_at) == (0.3, T + 10.0)


def test_the_only_worker_of_a_node_sees_averages_fall_too() -> None:
    _, (health,) = node(1, 1)
    (endpoint,) = health.endpoints
    health.ended(endpoint, T, 0.1, "ok")
    health.ended(endpoint, T + 10.0, 0.02, "ok")
    assert endpoint.average == pytest.approx(0.1 * 0.36787944 + 0.02 * 0.63212056)


def test_averages_reach_the_other_workers_within_a_refresh() -> None:
    _, (health, other) = node(2, 1)
    health.ended(health.endpoints[0], T, 0.25, "ok")
    health.refresh(T)
    other.refresh(T)
    assert (other.endpoints[0].average, other.endpoints[0].average_at) == (0.25, T)


@pytest.mark.parametrize(
    ("kind", "seconds", "average"),
    [("connect", 0.001, 1.0), ("gateway", 2.5, 2.5), ("5xx", 0.01, 1.0), ("cancelled", 9.0, 0.0)],
)
def test_a_failed_attempt_counts_as_a_second_at_least_s11_6(kind: str, seconds: float, average: float) -> None:
    health = alone(1)
    health.ended(health.endpoints[0], T, seconds, kind)
    assert health.endpoints[0].average == average


def test_the_nodes_average_is_the_highest_decayed_one() -> None:
    segment, (health, _) = node(2, 1)
    (endpoint,) = health.endpoints
    health.ended(endpoint, T, 0.02, "ok")
    row = segment.row(1)
    place = row.base + row.endpoint(0)
    row.words[place + AVERAGE], row.words[place + AVERAGE_AT] = 50_000, int(T * 1e6)
    health.refresh(T + 0.01)
    assert (endpoint.average, endpoint.average_at) == (0.05, T)
    row.words[place + AVERAGE_AT] = int((T - 20) * 1e6)
    health.refresh(T + 0.02)
    assert (endpoint.average, endpoint.average_at) == (0.02, T)


def test_an_endpoint_without_a_slot_is_counted_by_this_worker_alone() -> None:
    segment = Segment.local(1, endpoints=2)
    found = endpoints(3)
    found[2].slot = 99
    health = Health(PLAN, found, segment.row(0), T)
    health.started(found[2])
    health.ended(found[2], T, 0.01, "ok")
    assert (found[2].slot, found[2].average, found[2].active) == (-1, 0.01, 0)


# -- slow start ------------------------------------------------------------------------------------------------------


def test_nobody_starts_slowly_when_the_gateway_starts_s12_9() -> None:
    segment, (health,) = node(1, 3, CHECKED)
    for slot in range(3):
        probed(segment, slot, UP, T)
    health.refresh(T)
    assert [endpoint.weight for endpoint in health.endpoints] == [1.0, 1.0, 1.0]
    assert health.weights_version == 0


def test_a_recovered_endpoint_gets_its_weight_back_over_ten_seconds_s12_9() -> None:
    segment, (health,) = node(1, 3, CHECKED)
    for slot, state in ((0, UP), (1, UP), (2, UP), (1, DOWN), (1, UP)):
        probed(segment, slot, state, T)
        health.refresh(T)
    curve = []
    for step in range(0, 1101, 5):
        health.refresh(T + step * 0.01)
        curve.append(health.endpoints[1].weight)
    for step, weight in enumerate(curve):
        assert weight == pytest.approx(max(0.1, min(1.0, step * 0.005)), abs=0.011)
    assert health.weights_version >= 90 and health.endpoints[0].weight == 1.0


def test_an_ejected_endpoint_comes_back_slowly_too() -> None:
    health = alone(3)
    fail(health, 1, T)
    health.sweep(T + 1.0)
    health.sweep(T + 31.0)
    assert health.endpoints[1].weight == pytest.approx(0.1)


def test_slow_start_can_be_off() -> None:
    health = alone(3, replace(PLAN, slow_start=SlowStartPlan(window=0.0)))
    fail(health, 1, T)
    health.sweep(T + 1.0)
    health.sweep(T + 31.0)
    assert health.endpoints[1].weight == 1.0


def test_when_all_come_back_together_nobody_starts_slowly_s12_9() -> None:
    segment, (health,) = node(1, 2, CHECKED)
    for state in (UP, DOWN, UP):
        for slot in range(2):
            probed(segment, slot, state, T)
        health.refresh(T)
    assert [endpoint.weight for endpoint in health.endpoints] == [1.0, 1.0]


# -- reloads and people ----------------------------------------------------------------------------------------------


def reloaded(old: Health, found: list[Endpoint], row: Row | None, now: float) -> Health:
    health = Health(old.plan, found, row, now)
    health.carry_over(old, now)
    return health


def test_a_reload_keeps_what_is_known_by_key_s12_1() -> None:
    segment, (old,) = node(1, 3)
    fail(old, 1, T)
    old.sweep(T + 1.0)
    old.started(old.endpoints[0])
    fail(old, 2, T, "client", 1)
    found = list(old.endpoints)
    health = reloaded(old, found, segment.row(0), T + 2.0)
    assert names(health.candidates(T + 2.0, 0.5)) == [0, 2]
    assert (found[0].own_active, found[2].average) == (1, 0.001)
    old.ended(old.endpoints[0], T + 3.0, 0.1, "ok")
    assert found[0].own_active == 0
    health.sweep(T + 31.0)
    assert names(health.candidates(T + 31.0, 0.5)) == [0, 1, 2]


def test_an_endpoint_added_by_a_reload_starts_slowly_s12_9() -> None:
    old = alone(2)
    health = reloaded(old, [*old.endpoints, *endpoints(3)[2:]], None, T + 5.0)
    assert names(health.candidates(T + 5.0, 0.5)) == [0, 1, 2]
    assert [endpoint.weight for endpoint in health.endpoints] == [1.0, 1.0, pytest.approx(0.1)]


def test_when_all_endpoints_are_new_nobody_starts_slowly_s12_9() -> None:
    old = alone(2)
    others = [Endpoint("orders", "http", f"10.9.9.{number}", 80, index=number) for number in range(2)]
    health = reloaded(old, others, None, T + 5.0)
    assert [endpoint.weight for endpoint in health.endpoints] == [1.0, 1.0]


def test_an_attempt_on_a_removed_endpoint_ends_quietly() -> None:
    old = alone(2)
    gone = old.endpoints[1]
    old.started(gone)
    health = reloaded(old, [old.endpoints[0]], None, T + 1.0)
    health.ended(gone, T + 2.0, 0.1, "connect")
    assert gone.own_active == 0 and names(health.candidates(T + 2.0, 0.5)) == [0]


def test_what_our_row_says_of_a_removed_endpoint_is_wiped() -> None:
    segment, (old, _) = node(2, 3)
    fail(old, 1, T)
    old.sweep(T + 1.0)
    old.refresh(T + 1.1)
    row = segment.row(0)
    place = row.base + row.endpoint(1)
    assert row.words[place + EJECTED] and row.words[place + AVERAGE]
    reloaded(old, [old.endpoints[0], old.endpoints[2]], row, T + 2.0)
    assert row.words[place : place + 4].tolist() == [0, 0, 0, 0]


def test_a_reload_that_changes_nothing_shows_the_same_tuple_and_weights_go_on() -> None:
    old = alone(3)
    fail(old, 1, T)
    old.sweep(T + 1.0)
    old.sweep(T + 31.0)
    shown = old.candidates(T + 33.0, 0.5)
    health = reloaded(old, list(old.endpoints), None, T + 36.0)
    assert health.candidates(T + 36.0, 0.5) is shown
    assert health.endpoints[1].weight == pytest.approx(0.5)


def test_the_explanation_names_each_part_that_says_no_and_since_when_s12_1() -> None:
    segment, (health,) = node(1, 3, CHECKED)
    probed(segment, 0, UP, T)
    probed(segment, 1, UP, T)
    health.refresh(T)
    fail(health, 1, T, "gateway")
    health.sweep(T + 1.0)
    probed(segment, 1, DOWN, T + 2.0)
    explained = json.loads(json.dumps(health.explain(T + 4.0)))
    assert [one["usable"] for one in explained] == [True, False, False]
    assert explained[0]["no"] == []
    assert explained[1]["no"] == [
        {"part": "active_check", "since_s": 2.0},
        {"part": "ejected", "reason": "gateway_failures", "since_s": 4.0, "left_s": 26.0, "times": 1},
    ]
    assert explained[2]["no"] == [{"part": "not_yet_probed", "since_s": 4.0}]
    assert health.counts() == {"usable": 1, "down": 0, "ejected": 1, "unknown": 1}


def test_in_flight_words_are_written_for_the_others() -> None:
    segment, (health,) = node(1, 2)
    health.started(health.endpoints[1])
    row = segment.row(0)
    assert row.words[row.base + row.endpoint(1) + IN_FLIGHT] == 1
