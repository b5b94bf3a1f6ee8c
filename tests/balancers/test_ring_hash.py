from math import ceil

import pytest
from pydantic import ValidationError

from balancer_fakes import PoolTools, pool, tally
from fakes import exchange
from tidegate.balancers.ring_hash import Config, RingHash
from tidegate.exchange.identity import Identity


def test_removing_one_of_n_moves_only_its_keys_s11_5() -> None:
    endpoints = pool(*[1.0] * 10)
    balancer = RingHash(Config(by="path"), PoolTools())
    asked = [exchange(path=f"/k{n}") for n in range(4000)]
    before = [balancer.pick(x, endpoints).host for x in asked]
    after = [balancer.pick(x, endpoints[:-1]).host for x in asked]
    moved = sum(then != now for then, now in zip(before, after, strict=True))
    assert moved / 4000 <= 1 / 10 + 0.05
    assert all(then == now for then, now in zip(before, after, strict=True) if then != "j")


def test_the_bound_is_never_passed_s11_5() -> None:
    endpoints = pool(1, 2, 1, 4)
    balancer = RingHash(Config(by="header:x-key"), PoolTools())
    x = exchange(fields=[("x-key", "one hot key")])
    for active in range(400):
        endpoint = balancer.pick(x, endpoints)
        endpoint.active += 1
        assert endpoint.active <= ceil(1.25 * (active + 1) * endpoint.weight / 8)


def test_a_key_keeps_its_endpoint_while_that_has_room() -> None:
    endpoints = pool(*[1.0] * 5)
    balancer = RingHash(Config(by="cookie:sid"), PoolTools())
    assert len(tally(balancer, endpoints, 50, exchange(fields=[("cookie", "a=1; sid=42")]))) == 1


def test_without_the_key_the_endpoint_is_random_s11_5() -> None:
    counts = tally(RingHash(Config(by="consumer"), PoolTools()), pool(1, 1), 1000)
    assert counts["a"] > 300 and counts["b"] > 300


def test_a_full_endpoint_overflows_by_key_and_not_to_one_neighbour() -> None:
    endpoints = pool(*[1.0] * 10)
    balancer = RingHash(Config(by="consumer"), PoolTools())
    seen: dict[str, set[str]] = {}
    for n in range(500):
        x = exchange()
        x.identity = Identity(f"c{n}", "api_key")
        for e in endpoints:
            e.active = 0
        first = balancer.pick(x, endpoints)
        first.active = 5
        seen.setdefault(first.host, set()).add(balancer.pick(x, endpoints).host)
    assert all(len(others) >= 5 for others in seen.values())


def test_weights_share_the_ring() -> None:
    balancer, endpoints = RingHash(Config(by="path"), PoolTools()), pool(1, 2)
    hits = [balancer.pick(exchange(path=f"/{n}"), endpoints).host for n in range(6000)]
    assert abs(hits.count("b") / 6000 - 2 / 3) < 0.06


@pytest.mark.parametrize("by", ["", "header:", "tenant", "header:a b"])
def test_an_unknown_key_is_refused(by: str) -> None:
    with pytest.raises(ValidationError):
        Config(by=by)
