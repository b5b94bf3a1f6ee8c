import ipaddress

from balancer_fakes import PoolTools, pool, sequence
from fakes import exchange
from tidegate.balancers.ip_hash import Config, IpHash


def nginx(address: str, weights: list[int], down: set[int]) -> int:
    """nginx's loop, from its description in S11.4, written another way round."""
    owners = [index for index, weight in enumerate(weights) for _ in range(weight)]
    number = 89
    for _ in range(20):
        for octet in ipaddress.IPv4Address(address).packed[:3]:
            number = (number * 113 + octet) % 6271
        if owners[number % len(owners)] not in down:
            return owners[number % len(owners)]
    raise AssertionError("round robin")


def test_follows_nginx_on_ipv4_with_weights_and_with_one_down_s11_4() -> None:
    weights = [3, 1, 2]
    endpoints = pool(*weights)
    balancer = IpHash(Config(), PoolTools())
    for down in (set(), {0}, {2}):
        usable = tuple(e for e in endpoints if e.index not in down)
        if not down:
            balancer.pick(exchange(), endpoints)
        for n in range(200):
            address = f"{n}.{255 - n}.{n * 7 % 256}.9"
            assert balancer.pick(exchange(client_ip=address), usable).index == nginx(address, weights, down)


def test_agrees_with_what_nginx_1_22_answered_s11_4() -> None:
    endpoints = pool(3, 1, 2)
    balancer = IpHash(Config(), PoolTools())
    asked = [exchange(client_ip=ip) for ip in ("8.3.195.8", "128.91.27.128", "25.179.115.248", "145.11.203.118")]
    assert "".join(balancer.pick(x, endpoints).host for x in asked) == "caca"
    without_a = endpoints[1:]
    assert "".join(balancer.pick(x, without_a).host for x in asked) == "cccc"


def test_only_clients_of_the_lost_endpoint_move() -> None:
    endpoints = pool(1, 1, 1, 1)
    balancer = IpHash(Config(), PoolTools())
    addresses = [f"10.{n}.3.4" for n in range(256)]
    before = [balancer.pick(exchange(client_ip=a), endpoints).host for a in addresses]
    rest = endpoints[1:]
    after = [balancer.pick(exchange(client_ip=a), rest).host for a in addresses]
    assert all(now == then for then, now in zip(before, after, strict=True) if then != "a")
    assert "a" not in after


def test_hosts_of_one_ipv4_24_and_of_one_ipv6_64_stay_together() -> None:
    endpoints = pool(*[1.0] * 8)
    balancer = IpHash(Config(), PoolTools())
    for near, far in (("192.0.2.1", "192.0.2.254"), ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9")):
        assert balancer.pick(exchange(client_ip=near), endpoints) is balancer.pick(exchange(client_ip=far), endpoints)


def test_slow_start_moves_no_client() -> None:
    endpoints = pool(1, 1)
    balancer = IpHash(Config(), PoolTools())
    x = [exchange(client_ip=f"10.{n}.0.1") for n in range(64)]
    before = [balancer.pick(e, endpoints) for e in x]
    endpoints[0].weight = 0.1
    assert [balancer.pick(e, tuple(endpoints)) for e in x] == before


def test_a_client_without_an_address_takes_turns() -> None:
    assert sequence(IpHash(Config(), PoolTools(0.0)), pool(1, 1), 4, exchange(client_ip="unix:")) == "a b a b"
