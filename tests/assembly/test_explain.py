from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.assembly.check import Checked, check
from tidegate.assembly.explain import journey, summary

EXAMPLE = Path(__file__).parents[2] / "examples" / "http.yaml"


@pytest.fixture(scope="module")
def example() -> Checked:
    return check(EXAMPLE, {})


def test_a_journey_names_every_part_in_the_order_of_work(example: Checked) -> None:
    assert (
        journey(example, "GET", "/orders/7?page=2")
        == """\
GET /orders/7?page=2
  host        (any)
  path        /orders/7   query page=2
  route       orders   (http.yaml:34, prefix /orders, method GET POST PUT DELETE)
  filters     api_key          auth       on_request_head
              rate_limit       limit      on_request_head
              headers          other      on_request_head
  body        up to 10MiB
  upstream    orders, balancer peak_ewma
              http://127.0.0.1:9001 weight 1
              http://127.0.0.1:9002 weight 2
  health      http /healthz each 1s
  queue       1000 in flight, 2000 waiting, priority 2
  breaker     auto, 50 % failures or 50 % over 2s, open 4s
  retry       1, budget 10 %
  timeouts    connect 1s, request 30s, idle 1m
  answer      headers          other      on_response_head
  record      access_log"""
    )


def test_conditions_count_and_open_routes_say_so(example: Checked) -> None:
    text = journey(example, "GET", "https://API.example:443/catalog/a", [("x-version", "2")])
    assert "  host        api.example\n" in text
    assert "(http.yaml:41, prefix /catalog, field x-version: 2)" in text
    assert "open to anyone: no authentication filter (S7.1)" in text


def test_a_fixed_answer_is_told_by_status_and_length(example: Checked) -> None:
    assert "  respond     200, 17 bytes" in journey(example, "GET", "/hello")


@pytest.mark.parametrize(
    ("method", "url", "end"),
    [
        ("GET", "/nowhere", "  no route    404 route_not_found (S5.5)"),
        ("GET", "/catalog", "  no route    404 route_not_found (S5.5)"),
        ("PATCH", "/orders", "  no route    405 method_not_allowed, Allow: DELETE, GET, HEAD, POST, PUT (S5.5)"),
        ("BREW", "/orders", "  refused     501 not_implemented: no route lists the method BREW (S2.2)"),
    ],
)
def test_a_journey_that_ends_early_says_why(example: Checked, method: str, url: str, end: str) -> None:
    assert journey(example, method, url).endswith(end)


@pytest.mark.parametrize("url", ["/a/../b", "/a//b", "http://a b/", "/x%zz"])
def test_what_is_refused_before_routing_is_told_with_its_code(example: Checked, url: str) -> None:
    assert "  refused     400 " in journey(example, "GET", url)


@pytest.mark.parametrize("url", ["orders", "ftp://x/y", ""])
def test_what_is_no_request_is_no_journey(example: Checked, url: str) -> None:
    with pytest.raises(ValueError, match="a request is written like"):
        journey(example, "GET", url)


MANY = """\
listeners: [{address: 127.0.0.1:8080, slashes: merge}]
upstreams:
  - name: a
    targets: [{url: http://10.0.0.1/base}]
    health: {tcp: true}
    fallback: [{on: [open, timeout], respond: {status: 503, text: later}}, {on: [502], upstream: b}]
  - {name: b, targets: [{url: https://b.example}]}
routes:
  - {name: t, match: {path: "/u/{id}", template: true, hosts: ["*.x.example"], query: {v: "1"}}, upstream: a}
  - {name: s, match: {path: /s}, split: {by: ip, arms: [{upstream: a, weight: 3}, {upstream: b}]}}
  - {name: m, match: {path: /m}, redirect: {status: 301, host: new.example}}
"""


def test_captures_splits_fallbacks_and_redirects_are_told(tmp_path: Path) -> None:
    (tmp_path / "gw.yaml").write_text(MANY)
    checked = check(tmp_path / "gw.yaml", {})
    text = journey(checked, "GET", "http://a.x.example/u//7?v=1")
    assert "(gw.yaml:9, template /u/{id}, host *.x.example, query v=1)" in text
    assert "  captures    id=7" in text and "  health      tcp each 1s" in text
    assert "  fallback    open timeout: answer 503" in text and "  fallback    502: b" in text
    assert "http://10.0.0.1:80/base weight 1" in text
    text = journey(checked, "GET", "/s")
    assert "  split       by ip\n              a 75 %\n              b 25 %" in text
    assert "  redirect    301, host new.example" in journey(checked, "GET", "/m")
    assert "400 ambiguous_path" in journey(checked, "GET", "/s/a%2Fb")
    assert "400 ambiguous_path" in journey(checked, "GET", "/s/a;b")


def test_a_summary_is_one_line_for_each_thing(example: Checked) -> None:
    assert (
        summary(example)
        == """\
http.yaml is good.
  listen      127.0.0.1:8080 http
  admin       127.0.0.1:9080
  route       orders: api_key > rate_limit > headers > orders
  route       catalog: cors > rewrite > catalog   open to anyone
  route       live: catalog   open to anyone
  route       hello: respond   open to anyone
  upstream    orders: 2 targets, peak_ewma
  upstream    catalog: 1 targets, power_of_two
  consumers   2"""
    )
