import pytest

from balancer_fakes import PoolTools, pool, sequence, tally
from tidegate.balancers.utilization import Config, Utilization
from tidegate.exchange.head import ResponseHead


def report(balancer: Utilization, endpoint: object, text: str, name: str = "endpoint-load-metrics") -> ResponseHead:
    head = ResponseHead(200, "OK", [("x-a", "1"), (name, text)])
    balancer.observe(endpoint, 0.01, False, head)  # type: ignore[arg-type]
    return head


def test_at_equal_rates_utilisation_09_against_03_gives_1_to_3_s11_7() -> None:
    tools = PoolTools(0.0)
    balancer, endpoints = Utilization(Config(), tools), pool(1, 1)
    for _ in range(12):
        report(balancer, endpoints[0], "TEXT rps_fractional=100,cpu_utilization=0.9")
        report(
            balancer, endpoints[1], 'JSON {"rps_fractional":100,"application_utilization":0.3,"cpu_utilization":0.9}'
        )
        tools.clock += 1.0
    assert tally(balancer, endpoints, 400) == {"a": 100, "b": 300}


def test_the_field_does_not_reach_the_client_even_when_it_is_junk_s11_7() -> None:
    balancer, endpoints = Utilization(Config(), PoolTools()), pool(1)
    for name in ("endpoint-load-metrics", "endpoint-load-metrics-bin"):
        assert report(balancer, endpoints[0], "junk", name).fields == [("x-a", "1")]
    assert endpoints[0].load == 0.0


def test_reports_are_not_believed_during_the_blackout_s11_7() -> None:
    tools = PoolTools(0.0)
    balancer, endpoints = Utilization(Config(), tools), pool(1, 1)
    for endpoint, used in zip(endpoints, (0.9, 0.3), strict=True):
        report(balancer, endpoint, f"TEXT rps_fractional=10,cpu_utilization={used}")
    tools.clock += 9.9
    assert tally(balancer, endpoints, 40) == {"a": 20, "b": 20}
    tools.clock += 1.1
    assert tally(balancer, endpoints, 40) == {"a": 10, "b": 30}


def test_reports_expire_and_a_new_series_begins_with_a_blackout_s11_7() -> None:
    tools = PoolTools(0.0)
    balancer, endpoints = Utilization(Config(), tools), pool(1, 1)
    for endpoint, used in zip(endpoints, (0.9, 0.3), strict=True):
        report(balancer, endpoint, f"TEXT rps_fractional=10,cpu_utilization={used}")
    tools.clock += 181.0
    assert tally(balancer, endpoints, 40) == {"a": 20, "b": 20}
    for endpoint, used in zip(endpoints, (0.9, 0.3), strict=True):
        report(balancer, endpoint, f"TEXT rps_fractional=10,cpu_utilization={used}")
    tools.clock += 5.0
    assert tally(balancer, endpoints, 40) == {"a": 20, "b": 20}


def test_an_endpoint_without_report_gets_the_median_and_one_report_is_none_s11_7() -> None:
    tools = PoolTools(0.0)
    balancer, endpoints = Utilization(Config(), tools), pool(1, 1, 1)
    report(balancer, endpoints[0], "TEXT rps_fractional=10,cpu_utilization=0.5")
    tools.clock += 11.0
    assert tally(balancer, endpoints, 30) == {"a": 10, "b": 10, "c": 10}
    report(balancer, endpoints[1], "TEXT rps_fractional=10,cpu_utilization=0.25")
    tools.clock += 11.0
    assert tally(balancer, endpoints, 90) == {"a": 20, "b": 40, "c": 30}


def test_idle_endpoints_of_weights_1_and_2_share_1_to_2_without_reports() -> None:
    assert tally(Utilization(Config(), PoolTools()), pool(1, 2), 300) == {"a": 100, "b": 200}


@pytest.mark.parametrize("text", ["TEXT rps_fractional=0,cpu_utilization=1", "TEXT rps_fractional=9"])
def test_a_report_that_tells_too_little_changes_nothing(text: str) -> None:
    tools = PoolTools(0.0)
    balancer, endpoints = Utilization(Config(), tools), pool(1, 1)
    report(balancer, endpoints[0], text)
    tools.clock += 11.0
    assert (endpoints[0].load, sequence(balancer, endpoints, 2)) == (0.0, "a b")
