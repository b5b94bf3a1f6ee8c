"""The limit authority with real workers' sides, on a fake clock and a link that takes its time (S9.4)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.authorities.local import LocalLimits, Message
from tidegate.control.limits import LimitAuthority
from tidegate.engine.steps import Stepper, Steps, Wait
from tidegate.exchange.fault import Fault
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.rules.gcra import Gcra

SECOND = 1_000_000_000
START = 1000.0
WALL = 1_700_000_000.0


class Node:
    """One authority and some workers, whose messages take up to *delay* seconds. ``run`` lets time pass."""

    def __init__(self, workers: int, delay: float = 0.0, seed: int = 0, journal: Path | None = None) -> None:
        self.time = START
        self.wall_step = 0.0
        self.random = random.Random(seed)
        self.delay = delay
        self.journal = journal
        self.workers = workers
        self.post: list[tuple[float, int, str, int, Message]] = []
        self.count = 0
        self.messages = 0
        self.last: dict[tuple[str, int], float] = {}
        self.dead: set[int] = set()
        self.errors: list[BaseException] = []
        self.authority: LimitAuthority | None = None
        self.start_authority()
        self.limits = [self.worker(row) for row in range(workers)]
        self.admitted: list[int] = []
        self.refused = 0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return WALL + self.time - START + self.wall_step

    def start_authority(self) -> None:
        self.authority = LimitAuthority(self.journal, self.now, self.wall, self.to_worker, self.workers)

    def worker(self, row: int) -> LocalLimits:
        self.steps = Steps(self.errors.append)
        return LocalLimits(
            self.now,
            lambda message: self.to_authority(row, message),
            lambda: Wait(self.steps),
            lambda work: work(),
            self.workers,
        )

    def send(self, to: str, row: int, message: Message) -> None:
        at = max(self.time + self.random.random() * self.delay, self.last.get((to, row), 0.0))
        self.last[to, row] = at
        self.count += 1
        self.post.append((at, self.count, to, row, message))
        self.post.sort(key=lambda letter: letter[:2])
        if self.delay == 0.0:
            self.deliver()

    def to_authority(self, row: int, message: Message) -> bool:
        if row in self.dead or self.authority is None:
            return False
        self.messages += 1
        self.send("authority", row, message)
        return True

    def to_worker(self, row: int, message: Message) -> None:
        self.send("worker", row, message)

    def deliver(self) -> None:
        while self.post and self.post[0][0] <= self.time:
            _, _, to, row, message = self.post.pop(0)
            if to == "worker":
                if row not in self.dead:
                    self.limits[row].receive(message)
            elif self.authority is not None:
                reply = self.authority.handle(row, message)
                if reply is not None:
                    self.to_worker(row, reply)

    def run(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass, tick by tick."""
        end = self.time + seconds
        while self.time < end - step / 2:
            self.time = round(self.time + step, 6)
            self.deliver()
            self.tick()

    def tick(self) -> None:
        if self.authority is not None:
            self.authority.tick()
        for row, limits in enumerate(self.limits):
            if row not in self.dead:
                limits.tick(self.time)
        self.deliver()

    def take(self, row: int, spec: LimitSpec, partition: str = "a", cost: int = 1) -> list[Any]:
        """Ask, and note what comes of it; the verdict (or fault) is in the list once there is one."""
        said: list[Any] = []
        policy = self.limits[row].policy(spec)
        self.kept = getattr(self, "kept", {})
        self.kept[row, spec] = policy

        async def journey() -> None:
            try:
                verdict = policy.take(partition, cost)
                if not isinstance(verdict, Verdict):
                    verdict = await verdict
            except Fault as fault:
                said.append(fault)
                return
            said.append(verdict)
            if verdict.allowed:
                self.admitted.extend([int(self.time * SECOND)] * cost)
            else:
                self.refused += 1

        Stepper(self.steps, journey()).advance()
        assert not self.errors
        return said


def over_rate(admitted: list[int], spec: LimitSpec) -> int:
    """How many of *admitted* no bucket of the whole policy would have let through."""
    bucket = Gcra(spec.amount, round(spec.per * SECOND), spec.burst or spec.amount)
    return sum(not bucket.take(1, moment) for moment in sorted(admitted))


def most_in_window(admitted: list[int], per: float) -> int:
    times = sorted(admitted)
    most = first = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - per * SECOND:
            first += 1
        most = max(most, last - first + 1)
    return most


def flood(
    node: Node, spec: LimitSpec, seconds: float, tries: list[int], step: float = 0.002, deaths: bool = False
) -> None:
    """Each worker makes its own number of tries a step."""
    ticks = 0
    end = node.time + seconds
    while node.time < end - step / 2:
        node.time = round(node.time + step, 6)
        node.deliver()
        ticks += 1
        if ticks % 5 == 0:
            node.tick()
        for row, count in enumerate(tries):
            if row in node.dead:
                continue
            for _ in range(count):
                node.take(row, spec)
            if deaths and node.random.random() < 0.005:
                # kill -9: what it had written still arrives, what was meant for it is lost, and a new one starts.
                node.post = [letter for letter in node.post if letter[2:4] != ("worker", row)]
                assert node.authority is not None
                node.authority.worker_gone(row)
                node.limits[row] = node.worker(row)


@pytest.mark.parametrize("workers", [4, 8])
@pytest.mark.parametrize("deaths", [False, True])
def test_s9_4_a_sustained_uneven_flood_admits_never_more_than_the_rate_and_nearly_all_of_it(
    workers: int, deaths: bool
) -> None:
    spec = LimitSpec("flood", "rate", 500, 1.0, 200, on_store_error="deny")
    node = Node(workers, delay=0.002, seed=workers)
    flood(node, spec, 10.0, [3, 1] + [0] * (workers - 4) + [1, 2], deaths=deaths)
    assert over_rate(node.admitted, spec) == 0
    bound = 200 + 10 * 500
    assert len(node.admitted) >= (0.96 if not deaths else 0.80) * bound


@pytest.mark.parametrize("workers", [1, 4, 8])
def test_s9_2_a_flooded_window_admits_never_more_than_n_in_any_window(workers: int) -> None:
    spec = LimitSpec("window", "window", 600, 6.0, on_store_error="deny")
    node = Node(workers, delay=0.002, seed=workers)
    flood(node, spec, 30.0, [1] * workers, step=0.005)
    assert most_in_window(node.admitted, 6.0) <= 600
    assert len(node.admitted) >= 0.95 * 600 * 5


@settings(max_examples=60, deadline=None)
@given(
    workers=st.integers(1, 8),
    amount=st.integers(1, 300),
    per=st.sampled_from([0.1, 1.0, 7.0]),
    burst=st.integers(1, 100),
    kind=st.sampled_from(["rate", "window", "fixed"]),
    delay=st.sampled_from([0.0, 0.001, 0.03]),
    seed=st.integers(0, 2**30),
)
def test_s9_4_excess_is_zero_whatever_the_figures_the_delays_the_load_and_the_deaths(
    workers: int, amount: int, per: float, burst: int, kind: Any, delay: float, seed: int
) -> None:
    spec = LimitSpec("any", kind, amount, per, burst if kind == "rate" else 0, on_store_error="deny")
    node = Node(workers, delay, seed)
    chance = random.Random(seed)
    for _ in range(6):
        flood(
            node, spec, chance.choice([0.05, 0.2]), [chance.choice([0, 0, 1, 3]) for _ in range(workers)], deaths=True
        )
        node.run(chance.choice([0.01, 0.3, 2.0]))
    if kind == "rate":
        assert over_rate(node.admitted, spec) == 0
    elif kind == "window":
        assert most_in_window(node.admitted, per) <= amount
    else:
        assert most_in_window(node.admitted, per) <= 2 * amount


def test_s9_4_the_long_lease_of_a_quiet_worker_is_asked_back_before_another_hears_no() -> None:
    spec = LimitSpec("calm", "rate", 10, 1000.0)
    node = Node(2)
    assert node.take(0, spec)[0].allowed
    assert node.authority is not None
    for _ in range(30):
        node.take(1, spec)
    assert len(node.admitted) == 10, "the quiet worker's units were found and used"


def test_s9_4_sparse_keys_pay_no_round_trip_a_request() -> None:
    spec = LimitSpec("sparse", "rate", 1000, 1.0)
    node = Node(4)
    for _ in range(50):
        node.run(0.05)
        assert node.take(2, spec)[0].allowed
    assert node.messages < 5


def test_s9_4_a_flood_of_refusals_asks_nothing() -> None:
    spec = LimitSpec("no", "rate", 1, 60.0)
    node = Node(2)
    node.take(0, spec)
    node.take(0, spec)
    before = node.messages
    for _ in range(1000):
        said = node.take(0, spec)
        assert not said[0].allowed
        assert said[0].retry_after == pytest.approx(60.0)
    assert node.messages == before


SEQUENTIAL = [
    LimitSpec("s", "fixed", 500, 3600.0),
    LimitSpec("s", "window", 500, 3600.0),
    LimitSpec("s", "rate", 500, 500 * 3600.0),
    LimitSpec("s", "quota", 500, calendar="day"),
]


def one_by_one(node: Node, spec: LimitSpec, count: int, seconds: float = 2.0) -> list[Verdict]:
    """A client that waits for each answer, and meets the workers in turn; *seconds* are what it has for each."""
    verdicts = []
    for number in range(count):
        said = node.take(number % node.workers, spec)
        patience = node.time + seconds
        while not said and node.time < patience:
            node.run(0.002, 0.002)
        verdicts.append(said[0])
    return verdicts


@pytest.mark.parametrize("spec", SEQUENTIAL, ids=lambda spec: str(spec.kind))
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("away", [0.0, 0.7], ids=["there", "starting"])
@pytest.mark.parametrize("delay", [0.0, 0.004, 0.04])
def test_s9_4_one_client_after_the_start_gets_exactly_n(
    workers: int, spec: LimitSpec, away: float, delay: float
) -> None:
    """*away*: the authority and the links to it come up so long after the first request."""
    node = Node(workers, delay=delay, seed=5)
    node.authority = None
    first = node.take(0, spec)
    node.run(away)
    assert first == []
    node.start_authority()
    for limits in node.limits:
        limits.connected()
    node.run(0.3)
    assert first == [Verdict(True, 499, first[0].reset)]
    assert first[0].reset > 0.0
    verdicts = one_by_one(node, spec, 520)
    assert [verdict.allowed for verdict in verdicts] == [True] * 499 + [False] * 21
    assert verdicts[-1].remaining == 0
    node.run(6.0)
    assert not any(verdict.allowed for verdict in one_by_one(node, spec, 8)), "and nothing is left for later"


def test_s9_4_units_that_a_held_up_worker_returns_late_were_not_spent() -> None:
    node = Node(1)
    spec = LimitSpec("late", "fixed", 500, 3600.0)
    node.take(0, spec)
    node.dead.add(0)
    node.run(6.0)
    node.dead.clear()
    node.run(0.05)
    node.limits[0].tick(node.time)
    assert len([v for v in one_by_one(node, spec, 510) if v.allowed]) == 499


def test_units_of_a_window_that_is_over_are_not_returned_to_the_next_one() -> None:
    node = Node(2)
    spec = LimitSpec("late", "fixed", 500, 2.0)
    node.take(0, spec)
    node.dead.add(0)
    node.run(2.4)
    node.take(1, spec)
    assert node.authority is not None and len(node.authority.overdue) == 1
    bucket = node.authority.buckets["late", "a"]
    assert bucket.free(int(node.time * SECOND)) == 475
    node.authority.handle(0, {"kind": "back", "items": [["late", "a", 1, 24]]})
    assert bucket.free(int(node.time * SECOND)) == 475


def test_a_lease_that_ends_unspent_goes_home_whole() -> None:
    spec = LimitSpec("home", "rate", 100, 3600.0)
    node = Node(2)
    node.take(0, spec)
    node.run(6.0)
    assert node.authority is not None
    bucket = node.authority.buckets["home", "a"]
    assert not bucket.leases
    assert bucket.book is not None
    assert bucket.book.free(node.authority._clock()) == 99
    assert node.limits[0].policy(spec).buckets == {}


def test_s9_3_slots_are_never_more_than_n_and_come_free_with_the_worker_that_held_them() -> None:
    spec = LimitSpec("slots", "concurrent", 5)
    node = Node(2)
    said = [node.take(row, spec)[0] for row in (0, 0, 0, 1, 1, 1, 0)]
    assert sum(verdict.allowed for verdict in said) <= 5
    node.run(0.05)
    said += [node.take(row, spec)[0] for row in (0, 1)]
    assert sum(verdict.allowed for verdict in said) == 5
    node.dead.add(0)
    assert node.authority is not None
    node.authority.worker_gone(0)
    node.run(0.05)
    held = sum(slots[0] for slots in node.authority.buckets["slots", "a"].slots.values())
    assert held <= 2
    assert node.take(1, spec)[0].allowed


def test_s9_3_a_slot_given_back_serves_the_other_worker_soon() -> None:
    spec = LimitSpec("one", "concurrent", 1)
    node = Node(2, delay=0.001)
    first = node.take(0, spec)
    node.run(0.02)
    second = node.take(1, spec)
    node.run(0.06)
    assert first[0].allowed and not second[0].allowed
    node.limits[0].policy(spec).give_back("a")
    node.run(0.05)
    third = node.take(1, spec)
    node.run(0.05)
    assert third[0].allowed


def test_s9_10_a_quota_is_told_by_the_calendar_and_not_opened_twice_by_a_clock_stepped_back() -> None:
    spec = LimitSpec("daily", "quota", 3, calendar="hour")
    node = Node(2)
    for _ in range(3):
        assert node.take(0, spec)[0].allowed
    refused = node.take(0, spec)[0]
    assert not refused.allowed
    assert refused.retry_after == pytest.approx(3600 - WALL % 3600, abs=0.1)
    node.wall_step = -3600.0
    node.run(6.0)
    node.limits = [node.worker(0), node.worker(1)]
    assert not node.take(1, spec)[0].allowed
    node.wall_step = 3600.0
    node.limits = [node.worker(0), node.worker(1)]
    assert node.take(1, spec)[0].allowed


@pytest.mark.parametrize("kind", ["rate", "window", "quota"])
def test_s9_4_limits_survive_the_death_of_the_authority_and_the_gap_gives_no_credit(tmp_path: Path, kind: Any) -> None:
    spec = LimitSpec("kept", kind, 50, 10.0, calendar="month", on_store_error="deny")
    node = Node(2, journal=tmp_path / "limits.journal")
    for _ in range(60):
        node.take(0, spec)
        node.take(1, spec)
        node.run(0.01)
    before = len(node.admitted)
    assert 50 <= before <= 53
    node.authority = None
    for limits in node.limits:
        limits.disconnected()
    node.run(30.0)
    node.start_authority()
    for limits in node.limits:
        limits.connected()
    for _ in range(10):
        node.take(0, spec)
        node.take(1, spec)
    assert len(node.admitted) - before <= 5


def test_a_restarted_authority_takes_back_the_leases_its_former_self_gave(tmp_path: Path) -> None:
    spec = LimitSpec("back", "rate", 100, 3600.0)
    node = Node(2, journal=tmp_path / "limits.journal")
    node.take(0, spec)
    node.start_authority()
    assert node.authority is not None
    assert [lease.row for lease in node.authority.buckets["back", "a"].leases.values()] == [0]
    node.run(6.0)
    book = node.authority.buckets["back", "a"].book
    assert book is not None
    assert book.free(node.authority._clock()) == 99


def test_s9_6_a_stopped_authority_gives_no_credit_for_the_time_it_stood_still() -> None:
    spec = LimitSpec("stop", "rate", 10, 1.0, on_store_error="deny")
    node = Node(2)
    for _ in range(20):
        node.take(0, spec)
        node.run(0.01)
    stopped, node.authority = node.authority, None
    node.run(30.0)
    node.authority = stopped
    before = len(node.admitted)
    node.limits = [node.worker(0), node.worker(1)]
    for _ in range(20):
        node.take(0, spec)
    assert len(node.admitted) - before <= 2


def test_s23_2_new_figures_keep_what_is_used() -> None:
    node = Node(1)
    for _ in range(10):
        node.take(0, LimitSpec("same", "rate", 10, 3600.0))
    node.run(6.0)
    for _ in range(10):
        node.take(0, LimitSpec("same", "rate", 15, 3600.0))
    assert len(node.admitted) == 15


def test_full_buckets_are_forgotten_and_their_number_is_bounded() -> None:
    spec = LimitSpec("many", "rate", 10, 1.0)
    node = Node(1)
    assert node.authority is not None
    node.authority.most = 50
    for number in range(120):
        node.take(0, spec, f"p{number}")
        if number == 40:
            node.run(6.0)
    assert len(node.authority.buckets) <= 120
    node.run(8.0)
    assert node.authority.buckets == {}
    assert node.limits[0].policy(spec).buckets == {}


@pytest.mark.parametrize(
    ("spec", "length"),
    [
        (LimitSpec("f", "fixed", 10, 60.0), 60.0),
        (LimitSpec("q", "quota", 10, 0.0, calendar="minute"), 60.0),
        (LimitSpec("d", "quota", 10, 0.0, calendar="day"), 86_400.0),
    ],
)
def test_s9_10_a_charge_of_a_window_that_is_over_is_worth_nothing_in_the_next(spec: LimitSpec, length: float) -> None:
    node = Node(1)
    policy = node.limits[0].policy(spec)
    clock = START if spec.kind == "fixed" else WALL
    node.time = round(START + length - clock % length - 4.0, 3)  # 4 s before a window ends
    node.authority = None
    node.start_authority()
    taken = node.time
    for _ in range(10):
        node.take(0, spec)
    node.run(6.0)
    for _ in range(10):
        node.take(0, spec)
    node.run(0.5)
    assert len(node.admitted) == 20
    for _ in range(5):
        policy.give_back("a", 1, taken=taken)
    node.run(0.1)
    node.take(0, spec)
    assert len(node.admitted) == 20
    policy.give_back("a", 1, taken=node.time - 0.5)
    node.run(0.1)
    node.take(0, spec)
    assert len(node.admitted) == 21


def test_s9_7_a_refund_to_the_authority_never_lifts_a_bucket_above_full() -> None:
    spec = LimitSpec("refund", "rate", 10, 3600.0)
    node = Node(1)
    policy = node.limits[0].policy(spec)
    for _ in range(5):
        node.take(0, spec)
    node.run(6.0)
    for _ in range(50):
        policy.give_back("a", 1, taken=START)
    node.run(0.02)
    for _ in range(20):
        node.take(0, spec)
    assert len(node.admitted) == 15, "five charges were taken back, and ten fit a full bucket"


def restarted(node: Node, gap: float = 0.3) -> None:
    """The authority is killed -9, and a new one is there after *gap* seconds."""
    node.authority = None
    for limits in node.limits:
        limits.disconnected()
    node.run(gap)
    node.start_authority()
    for limits in node.limits:
        limits.connected()
    node.run(0.1)


TOKENS = LimitSpec("tokens", "window", 200_000, 60.0)


@pytest.mark.parametrize("rest", [True, False], ids=["lease", "refund"])
def test_s9_4_what_came_home_before_the_authority_died_is_not_spent_after_it(tmp_path: Path, rest: bool) -> None:
    """A call that set 150,000 tokens aside and used 10 (LLM 10)."""
    node = Node(2, journal=tmp_path / "limits.journal")
    (verdict,) = node.take(0, TOKENS, cost=150_000)
    assert verdict.allowed
    policy = node.kept[0, TOKENS]
    if rest:
        policy.give_back("a", 149_990)
        node.run(6.0)
    else:
        node.run(6.0)
        policy.give_back("a", 149_990)
        node.run(0.1)
    restarted(node)
    (verdict,) = node.take(1, TOKENS, cost=199_000)
    assert verdict.allowed
    restarted(node, 6.0)
    assert not node.take(0, TOKENS, cost=2_000)[0].allowed


def test_s9_4_what_a_worker_gives_back_while_nobody_listens_is_not_lost(tmp_path: Path) -> None:
    """A call was under way when the authority died: what it did not use is there again after it."""
    node = Node(2, journal=tmp_path / "limits.journal")
    assert node.take(0, TOKENS, cost=150_000)[0].allowed
    taken = node.time
    node.run(6.0)
    node.authority = None
    for limits in node.limits:
        limits.disconnected()
    node.run(0.2)
    node.kept[0, TOKENS].give_back("a", 149_990, taken)
    node.run(0.2)
    node.start_authority()
    for limits in node.limits:
        limits.connected()
    node.run(0.1)
    assert node.take(1, TOKENS, cost=199_000)[0].allowed


def test_s9_6_a_cost_that_no_local_share_could_bear_waits_for_the_authority(tmp_path: Path) -> None:
    """A worker alone begins with one unit, which is no limit of tokens: for a second it waits."""
    node = Node(2, journal=tmp_path / "limits.journal")
    assert node.take(0, TOKENS, cost=1_000)[0].allowed
    node.authority = None
    for limits in node.limits:
        limits.disconnected()
    node.run(0.2)
    said = node.take(0, TOKENS, cost=150_000)
    node.run(0.3)
    assert said == []
    node.start_authority()
    for limits in node.limits:
        limits.connected()
    node.run(0.1)
    assert [verdict.allowed for verdict in said] == [True]
    node.authority = None
    for limits in node.limits:
        limits.disconnected()
    late = node.take(0, TOKENS, cost=150_000)
    node.run(1.1)
    assert [verdict.allowed for verdict in late] == [False], "nobody waits for longer"


def test_s9_4_authorities_may_die_as_they_like_and_strand_no_tokens_of_calls_under_way(tmp_path: Path) -> None:
    """Three at a time set 60,000 of 200,000 aside and use 18 each, on four workers."""
    node = Node(4, journal=tmp_path / "limits.journal")
    calls: list[tuple[int, list[Any], float]] = []
    served = 0
    for step in range(800):
        node.run(0.01)
        if step % 100 == 50:
            node.authority = None
            node.post = [letter for letter in node.post if letter[2] != "authority"]
            for limits in node.limits:
                limits.disconnected()
        elif step % 100 == 90:
            node.start_authority()
            for limits in node.limits:
                limits.connected()
        for call in list(calls):
            row, said, begun = call
            if said and node.time > begun + 0.02:
                assert said[0].allowed, (step, said)
                node.kept[row, TOKENS].give_back("a", 19_982, begun)
                calls.remove(call)
                served += 1
        while len(calls) < 3:
            row = node.random.randrange(4)
            calls.append((row, node.take(row, TOKENS, cost=20_000), node.time))
    assert served > 200
