"""One upstream over reloads and address changes: state goes on by identity (S4.8, S16.6, S23.2)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from conversation import First, House, route, settle, upstream

from tidegate.engine.upstream.upstream import Upstream, client_context, own_host
from tidegate.ports.plan import HedgePlan, RetryPlan, TargetPlan, TimeoutsPlan, UpstreamPlan, UpstreamTlsPlan

GET = "GET /a HTTP/1.1\r\nHost: gw\r\n\r\n"
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def scene(play: Callable[[House, Upstream], Coroutine[Any, Any, None]], *targets: str, **settings: Any) -> None:
    async def run() -> None:
        house = await House([route()], [upstream("up", *targets, **settings)]).open()
        await play(house, house.runtime.upstreams["up"])
        house.at_rest()

    asyncio.run(run())


def plan_of(*targets: TargetPlan, **settings: Any) -> UpstreamPlan:
    return UpstreamPlan("up", targets, First(), **settings)


def test_a_reload_that_changes_nothing_about_connections_keeps_them_and_all_state() -> None:
    async def play(house: House, up: Upstream) -> None:
        [endpoint] = up.endpoints
        [pool] = up.pools.values()
        breaker = up.breaker
        up.apply(replace(up.plan, retry=RetryPlan(attempts=3, budget=50.0)))
        assert (up.endpoints, list(up.pools.values()), up.breaker) == ([endpoint], [pool], breaker)
        assert up.budget.share == 0.5
        up.apply(replace(up.plan, hedge=HedgePlan(after=1.0)))
        assert up.hedge is not None and up.hedge.delay() == 1.0

    scene(play)


def test_failed_connects_have_the_resolver_asked_once_a_second_s16_7() -> None:
    async def play(house: House, up: Upstream) -> None:
        asked: list[str] = []
        house.tools.want_addresses = asked.append
        house.refusing["10.0.0.1:80"] = ConnectionRefusedError()
        for seconds in (0.0, 0.5, 0.6):
            house.now += seconds
            client = house.client()
            client.says(GET)
            await settle()
            await settle()
            assert client.hears().startswith(b"HTTP/1.1 503")
        assert asked == ["up", "up"]

    scene(play, retry=RetryPlan(attempts=0))


def test_an_endpoint_that_is_removed_finishes_its_exchange_s23_2() -> None:
    async def play(house: House, up: Upstream) -> None:
        client = house.client()
        client.says(GET)
        await settle()
        gone, kept = up.pools["10.0.0.1:80"], up.pools["10.0.0.2:80"]
        up.apply(replace(up.plan, targets=up.plan.targets[1:]))
        assert (gone.closed, list(up.pools.values())) == (True, [kept])
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")
        assert (gone.open, house.upstreams[0].transport.aborted) == (0, True)
        client.says(GET)
        await settle()
        assert house.connected[-1] == "10.0.0.2:80"
        house.upstreams[1].says(OK)

    scene(play, "10.0.0.1:80", "10.0.0.2:80")


def test_other_timeouts_make_other_pools_and_who_waits_in_the_old_is_served() -> None:
    async def play(house: House, up: Upstream) -> None:
        house.holding.add("10.0.0.1:80")
        client = house.client()
        client.says(GET)
        await settle()
        [old] = up.pools.values()
        up.apply(replace(up.plan, timeouts=TimeoutsPlan(connect=9.0)))
        assert up.pools["10.0.0.1:80"] is not old
        house.holding.clear()
        await settle()
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")
        assert (old.open, old.closed) == (0, True)

    scene(play)


def test_a_name_becomes_all_its_addresses_and_follows_them_s16_7() -> None:
    async def play(house: House, up: Upstream) -> None:
        where = ("a.internal", 80)
        assert [e.key for e in up.endpoints] == ["a.internal:80"]
        up.set_addresses({where: ["192.0.2.1", "192.0.2.2"]})
        first, second = up.endpoints
        assert [first.key, second.key] == ["192.0.2.1:80", "192.0.2.2:80"]
        pool = up.pools["192.0.2.2:80"]
        up.set_addresses({where: ["192.0.2.2", "192.0.2.2", "192.0.2.3"]})
        assert [e.key for e in up.endpoints] == ["192.0.2.2:80", "192.0.2.3:80"]
        assert up.endpoints[0] is second
        assert up.pools["192.0.2.2:80"] is pool
        assert second.index == 0

    scene(play, "a.internal:80")


def test_removing_an_upstream_by_a_reload_closes_what_is_idle() -> None:
    async def play(house: House, up: Upstream) -> None:
        [pool] = up.pools.values()
        assert pool.open == 1
        house.engine.apply(replace(house.plan, generation=2, upstreams={}), {})
        assert pool.open == 0

    scene(play, warm=1)


@pytest.mark.parametrize(
    ("target", "host", "wanted"),
    [
        (TargetPlan("http", "a.example", 80), "", ""),
        (TargetPlan("https", "a.example", 443), "", "a.example"),
        (TargetPlan("https", "a.example", 8443), "", "a.example:8443"),
        (TargetPlan("https", "192.0.2.1", 443), "", ""),
        (TargetPlan("https", "2001:db8::1", 443), "", ""),
        (TargetPlan("https", "localhost", 443), "", ""),
        (TargetPlan("https", "a.example", 443), "preserve", ""),
        (TargetPlan("http", "a.example", 81), "upstream", "a.example:81"),
        (TargetPlan("http", "a.example", 80), "fixed.example", "fixed.example"),
    ],
)
def test_whose_host_the_upstream_reads_s4_8(target: TargetPlan, host: str, wanted: str) -> None:
    assert own_host(plan_of(target, host=host)) == wanted


def test_tls_toward_upstreams_is_verified_from_1_2_up_s16_6(tmp_path: Path) -> None:
    plain, secure = TargetPlan("http", "a", 80), TargetPlan("https", "a", 443)
    assert client_context(plan_of(plain)) is None
    context = client_context(plan_of(secure))
    assert context is not None
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    loose = client_context(plan_of(secure, tls=UpstreamTlsPlan(verify=False)))
    assert loose is not None and loose.verify_mode == ssl.CERT_NONE
    own = trustme.CA()
    file = tmp_path / "ca.pem"
    own.cert_pem.write_to_path(str(file))
    one = client_context(plan_of(secure, tls=UpstreamTlsPlan(ca=str(file))))
    assert one is not None and len(one.get_ca_certs()) == 1


def test_explain_says_what_stands_before_the_endpoints() -> None:
    async def play(house: House, up: Upstream) -> None:
        told = up.explain(house.now)
        assert told["breaker"]["state"] == "closed"
        assert told["pools"]["10.0.0.1:80"]["open"] == 1
        assert [line["usable"] for line in told["endpoints"]] == [True]
        assert up.breaker_figure() == 0.0

    scene(play, warm=1)
