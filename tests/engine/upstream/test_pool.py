"""Pools: last in, first out, bounded, swept, warm, and they learn (S15.1, S16.1-S16.4)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conversation import House, route, settle, upstream

from tidegate.engine.upstream.http1_client import CLOSED, Http1Client
from tidegate.engine.upstream.pool import LIFE, REQUESTS, Pool, connect_fault
from tidegate.exchange.fault import NOT_PROCESSED, Fault
from tidegate.ports.plan import RetryPlan

KEY = "10.0.0.1:80"


def scene(play: Callable[[House, Pool], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def run() -> None:
        settings.setdefault("retry", RetryPlan(attempts=0))
        house = await House([route()], [upstream(**settings)]).open()
        await play(house, house.runtime.upstreams["up"].pools[KEY])
        assert house.defects == []

    asyncio.run(run())


async def connection(pool: Pool) -> Http1Client:
    wait = pool.connect()
    await settle()
    assert wait.done
    assert isinstance(wait.value, Http1Client)
    return wait.value


def test_the_last_one_given_back_is_the_first_taken_s16_1() -> None:
    async def play(house: House, pool: Pool) -> None:
        first, second = await connection(pool), await connection(pool)
        pool.give_back(first)
        pool.give_back(second)
        assert pool.take(house.now) is second
        assert pool.take(house.now) is first
        assert pool.take(house.now) is None
        assert (pool.open, pool.busy()) == (2, 2)
        assert pool.events == {"opened": 2, "failed": 0, "reused": 2, "stale": 0, "closed": 0}

    scene(play)


def test_one_given_back_goes_to_who_waits_longest() -> None:
    async def play(house: House, pool: Pool) -> None:
        one = await connection(pool)
        first, second = pool.connect(), pool.connect()
        pool.give_back(one)
        assert (first.value, second.done) == (one, False)

    scene(play, max_connections=1)


def test_no_more_than_max_connections_are_opened_and_a_lost_one_is_replaced() -> None:
    async def play(house: House, pool: Pool) -> None:
        first, second, third = pool.connect(), pool.connect(), pool.connect()
        await settle()
        assert (first.done, second.done, third.done, pool.open) == (True, True, False, 2)
        first.value.close()
        await settle()
        assert third.done
        assert (pool.open, len(house.upstreams)) == (2, 3)

    scene(play, max_connections=2)


def test_a_failed_connect_fails_one_and_the_next_waiter_gets_its_own_try() -> None:
    async def play(house: House, pool: Pool) -> None:
        house.refusing[KEY] = ConnectionRefusedError()
        waits = [pool.connect() for _ in range(3)]
        await settle()
        await settle()
        assert [wait.done for wait in waits] == [True, True, True]
        assert {wait.fault.reason for wait in waits if isinstance(wait.fault, Fault)} == {"connect_failed"}
        assert (pool.open, pool.opening, pool.events["failed"]) == (0, 0, 3)

    scene(play, max_connections=1)


def test_a_wait_that_is_withdrawn_leaves_its_connection_to_the_pool() -> None:
    async def play(house: House, pool: Pool) -> None:
        wait = pool.connect()
        assert wait.withdraw is not None
        wait.withdraw()
        await settle()
        assert (wait.done, len(pool.idle), len(pool.waiters)) == (False, 1, 0)

    scene(play)


def test_a_fresh_connection_is_never_a_used_one() -> None:
    async def play(house: House, pool: Pool) -> None:
        pool.give_back(await connection(pool))
        wait = pool.fresh()
        await settle()
        assert wait.value is not pool.idle[0]
        withdrawn = pool.fresh()
        withdrawn.done = True
        await settle()
        assert len(pool.idle) == 2
        house.refusing[KEY] = ConnectionRefusedError()
        refused = pool.fresh()
        await settle()
        assert isinstance(refused.fault, Fault)

    scene(play)


def test_a_fresh_one_waits_for_room_and_a_used_one_that_comes_free_makes_it_s16_1() -> None:
    async def play(house: House, pool: Pool) -> None:
        client = house.client()
        client.says("GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        await settle()
        busy = pool.connect()
        await settle()
        fresh, left = pool.fresh(), pool.fresh()
        await settle()
        assert (pool.open, fresh.done, busy.done) == (2, False, True)
        left.withdrawn(ConnectionAbortedError())
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert house.upstreams[0].transport.aborted
        await settle()
        assert (pool.open, len(house.upstreams), len(pool.newcomers)) == (2, 3, 0)
        assert fresh.value.requests == 0 and fresh.value is not busy.value

    scene(play, max_connections=2)


def test_an_idle_one_makes_room_for_a_fresh_one_and_an_unused_one_is_fresh() -> None:
    async def play(house: House, pool: Pool) -> None:
        idle, unused = await connection(pool), await connection(pool)
        pool.give_back(idle)
        fresh = pool.fresh()
        assert idle.state == CLOSED
        await settle()
        assert (fresh.done, pool.open) == (True, 2)
        second = pool.fresh()
        pool.give_back(unused)
        assert second.value is unused

    scene(play, max_connections=2)


def test_one_that_opens_for_a_fresh_wait_is_not_counted_for_who_takes_any() -> None:
    async def play(house: House, pool: Pool) -> None:
        fresh, other = pool.fresh(), pool.connect()
        await settle()
        assert (fresh.done, other.done, pool.open, pool.promised) == (True, True, 2, 0)

    scene(play)


def test_when_ten_are_busy_one_more_is_opened_ahead_and_kept_s16_2() -> None:
    async def play(house: House, pool: Pool) -> None:
        taken = [await connection(pool) for _ in range(9)]
        pool.give_back(taken[-1])
        assert pool.take(house.now) is taken[-1]
        await settle()
        assert (pool.open, pool.idle) == (9, [])  # one more would be more than a tenth of the need
        taken.append(await connection(pool))
        pool.give_back(taken[-1])
        assert pool.take(house.now) is taken[-1]
        await settle()
        assert (pool.open, len(pool.idle)) == (11, 1)
        for _ in range(20):
            pool.sweep(house.now)
        assert pool.open == 11
        pool.take(house.now)
        await settle()
        assert pool.open == 11  # as many as there may be

    scene(play, max_connections=11)


def test_use_between_two_sweeps_is_remembered_s16_2() -> None:
    async def play(house: House, pool: Pool) -> None:
        taken = [await connection(pool) for _ in range(4)]
        for one in taken:
            pool.give_back(one)
        for _ in range(40):
            together = [pool.take(house.now) for _ in range(4)]
            for each in together:
                assert each is not None
                pool.give_back(each)
            pool.sweep(house.now)
        assert pool.open == 4

    scene(play)


def test_lives_differ_by_a_tenth_s16_3() -> None:
    async def play(house: House, pool: Pool) -> None:
        lives = []
        for pool.draw in (lambda: 0.0, lambda: 0.5, lambda: 1.0):
            lives.append((await connection(pool)).retires - house.now)
        assert [round(life, 6) for life in lives] == [3240.0, 3600.0, 3960.0]

    scene(play)


def test_a_connection_the_upstream_closed_while_idle_is_never_taken_s14_5() -> None:
    async def play(house: House, pool: Pool) -> None:
        one = await connection(pool)
        pool.give_back(one)
        house.upstreams[0].leaves()
        assert pool.take(house.now) is None
        assert pool.open == 0

    scene(play)


def test_bytes_on_an_idle_connection_close_it_s16_4() -> None:
    async def play(house: House, pool: Pool) -> None:
        one = await connection(pool)
        pool.give_back(one)
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert one.state == CLOSED
        assert house.upstreams[0].transport.aborted
        assert pool.take(house.now) is None

    scene(play)


def test_idle_life_is_60_s_and_less_after_a_stale_reset_s16_3() -> None:
    async def play(house: House, pool: Pool) -> None:
        pool.give_back(await connection(pool))
        house.now += 60.5
        assert pool.take(house.now) is None
        one = await connection(pool)
        one.idle_since = house.now - 10.0
        pool.went_stale(one)
        assert pool.idle_cap == 5.0
        pool.give_back(one)
        house.now += 5.5
        assert pool.take(house.now) is None
        pool.idle_cap = 5.0
        for _ in range(12):
            pool.sweep(house.now)
        assert 5.45 < pool.idle_cap < 5.55  # +10 % a minute
        one.idle_since = house.now - 1.0
        pool.went_stale(one)
        assert pool.idle_cap == 1.0

    scene(play)


def test_an_upstreams_own_keep_alive_bounds_the_idle_life_s16_3() -> None:
    async def play(house: House, pool: Pool) -> None:
        client = house.client()
        client.says("GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\nkeep-alive: timeout=5, max=9\r\ncontent-length: 0\r\n\r\n")
        assert b"keep-alive" not in client.hears()
        assert pool.idle[0].life == 4.0
        house.now += 3.9
        one = pool.take(house.now)
        assert one is not None
        pool.give_back(one)
        house.now += 4.1
        pool.sweep(house.now)
        assert (pool.idle, pool.open) == ([], 0)

    scene(play)


def test_old_and_much_used_connections_are_not_kept_s16_3() -> None:
    async def play(house: House, pool: Pool) -> None:
        used, old = await connection(pool), await connection(pool)
        used.requests = REQUESTS
        pool.give_back(used)
        house.now += LIFE * 1.1 + 1.0
        pool.give_back(old)
        assert (pool.idle, pool.open) == ([], 0)

    scene(play)


def test_each_sweep_closes_half_of_what_a_minute_did_not_need_s16_2() -> None:
    async def play(house: House, pool: Pool) -> None:
        pool.idle_cap = 60.0
        taken = [await connection(pool) for _ in range(8)]
        for one in taken:
            pool.give_back(one)
        assert pool.open == 8
        seen = []
        for _ in range(18):
            house.now += 1.0
            pool.sweep(house.now)
            seen.append(pool.open)
        assert seen[:12] == [8] * 12  # the use of the last minute is remembered
        assert seen[12:] == [4, 2, 1, 0, 0, 0]

    scene(play)


def test_warm_connections_are_there_before_anybody_asks_and_stay_s16_2() -> None:
    async def play(house: House, pool: Pool) -> None:
        await settle()
        assert (pool.open, len(pool.idle)) == (2, 2)
        for _ in range(20):
            pool.sweep(house.now)
        assert pool.open == 2

    scene(play, warm=2)


def test_a_closed_pool_still_serves_who_waits_and_keeps_nothing_s23_2() -> None:
    async def play(house: House, pool: Pool) -> None:
        busy = await connection(pool)
        idle = await connection(pool)
        pool.give_back(idle)
        wait = pool.connect()
        pool.close()
        assert idle.state == CLOSED
        await settle()
        assert wait.done
        pool.give_back(wait.value)
        pool.give_back(busy)
        assert (pool.open, pool.idle) == (0, [])

    scene(play)


@pytest.mark.parametrize(
    ("error", "tls", "code", "reason", "status"),
    [
        (TimeoutError(), False, "upstream_timeout", "connect_timeout", 504),
        (TimeoutError(), True, "upstream_timeout", "connect_timeout", 504),
        (ConnectionRefusedError(), False, "upstream_unavailable", "connect_failed", 503),
        (ConnectionRefusedError(), True, "upstream_unavailable", "connect_failed", 503),
        (OSError(113, "no route to host"), True, "upstream_unavailable", "connect_failed", 503),
        (socket.gaierror(), True, "upstream_unavailable", "dns_failed", 503),
        (ssl.SSLCertVerificationError(), True, "tls_error", "tls", 502),
        (ConnectionResetError(), True, "tls_error", "tls", 502),
        (ConnectionResetError(), False, "upstream_unavailable", "connect_failed", 503),
    ],
)
def test_what_a_connect_may_end_with_s15_1_s16_6(
    error: BaseException, tls: bool, code: str, reason: str, status: int
) -> None:
    fault = connect_fault(error, tls)
    assert (fault.code, fault.reason, fault.status, fault.retry) == (code, reason, status, NOT_PROCESSED)
