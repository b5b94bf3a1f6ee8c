import pytest
from pydantic import ValidationError

from balancer_fakes import PoolTools, pool, tally
from fakes import exchange
from tidegate.balancers.geo_proximity import Config, GeoProximity

BERLIN, HAMBURG, MADRID, NEW_YORK = (52.52, 13.40), (53.55, 9.99), (40.42, -3.70), (40.71, -74.01)
CLIENTS = {"192.0.2.0/24": BERLIN, "192.0.2.128/25": MADRID, "2001:db8::/32": NEW_YORK}


def places() -> tuple[object, ...]:
    return pool(1, 1, 1, 1, location=[HAMBURG, MADRID, NEW_YORK, None])


def test_the_nearest_tier_gets_the_mapped_clients_s11_8() -> None:
    balancer, endpoints = GeoProximity(Config(clients=CLIENTS), PoolTools()), places()
    assert tally(balancer, endpoints, 50, exchange(client_ip="192.0.2.1")) == {"a": 50}
    assert tally(balancer, endpoints, 50, exchange(client_ip="192.0.2.200")) == {"b": 50}
    assert tally(balancer, endpoints, 50, exchange(client_ip="2001:db8::1")) == {"c": 50}


def test_the_nearest_tier_down_spills_to_the_next_only_s11_8() -> None:
    balancer, endpoints = GeoProximity(Config(clients=CLIENTS), PoolTools()), places()
    x = exchange(client_ip="192.0.2.1")
    balancer.pick(x, endpoints)
    assert tally(balancer, endpoints[1:], 50, x) == {"b": 50}


def test_half_of_the_nearest_down_spills_30_percent_s11_10() -> None:
    endpoints = pool(1, 1, 1, location=[BERLIN, HAMBURG, MADRID])
    balancer, x = GeoProximity(Config(clients=CLIENTS), PoolTools()), exchange(client_ip="192.0.2.1")
    balancer.pick(x, endpoints)
    counts = tally(balancer, endpoints[1:], 20_000, x)
    assert abs(counts["b"] / 20_000 - 0.7) < 0.01
    assert counts["b"] + counts["c"] == 20_000


def test_an_unknown_client_is_balanced_over_all_s11_8() -> None:
    counts = tally(
        GeoProximity(Config(clients=CLIENTS), PoolTools()), places(), 2000, exchange(client_ip="203.0.113.1")
    )
    assert set(counts) == {"a", "b", "c", "d"}


def test_the_field_counts_only_from_a_trusted_proxy() -> None:
    balancer, endpoints = GeoProximity(Config(field="X-Place", clients=CLIENTS), PoolTools()), places()
    fields = [("x-place", "40.71,-74.01")]
    assert tally(balancer, endpoints, 9, exchange(fields=fields, trusted=True, client_ip="192.0.2.1")) == {"c": 9}
    assert tally(balancer, endpoints, 9, exchange(fields=fields, client_ip="192.0.2.1")) == {"a": 9}
    bad = exchange(fields=[("x-place", "north")], trusted=True, client_ip="192.0.2.1")
    assert tally(balancer, endpoints, 9, bad) == {"a": 9}


def test_by_latency_prefers_the_measured_best_and_measures_the_others_first_s11_8() -> None:
    tools = PoolTools()
    balancer, endpoints = GeoProximity(Config(by="latency"), tools), pool(1, 1, 1)
    assert set(tally(balancer, endpoints, 200)) == {"a", "b", "c"}
    for endpoint, seconds in zip(endpoints, (0.030, 0.010, 0.012), strict=True):
        balancer.observe(endpoint, seconds, False, None)
    tools.clock += 1.1
    assert set(tally(balancer, endpoints, 200)) == {"b", "c"}


def test_idle_endpoints_of_weights_1_and_2_share_1_to_2() -> None:
    endpoints = pool(1, 2, location=[BERLIN, HAMBURG])
    balancer = GeoProximity(Config(clients=CLIENTS), PoolTools())
    counts = tally(balancer, endpoints, 30_000, exchange(client_ip="192.0.2.1"))
    assert abs(counts["b"] / 30_000 - 2 / 3) < 0.01


@pytest.mark.parametrize("clients", [{"nowhere": BERLIN}, {"10.0.0.0/8": (91.0, 0.0)}, {"10.0.0.1/8": BERLIN}])
def test_a_bad_table_is_refused(clients: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"clients": clients})
