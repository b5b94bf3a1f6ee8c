"""S8.1: IP lists, deny wins; the address is the one of S4.4."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.fault import Fault
from tidegate.filters.ip_allow import Config, IpAllow


def passes(config: Config, client_ip: str) -> bool:
    try:
        assert IpAllow(config, FakeTools()).on_request_head(exchange(client_ip=client_ip)) is None
    except Fault as fault:
        assert (fault.status, fault.code, fault.reason) == (403, "forbidden", "ip_denied")
        assert fault.detail == "This address may not call."
        return False
    return True


@pytest.mark.parametrize(
    ("client_ip", "allowed"),
    [("10.1.2.3", True), ("10.66.0.1", False), ("192.0.2.1", False), ("2001:db8::5", True), ("2001:db9::5", False),
     ("::ffff:10.1.2.3", True), ("::ffff:10.66.0.1", False), ("", False), ("unix:", False)],
)  # fmt: skip
def test_deny_wins_over_allow_and_what_is_not_allowed_is_denied(client_ip: str, allowed: bool) -> None:
    config = Config(allow=("10.0.0.0/8", "2001:db8::/32"), deny=("10.66.0.0/16",))
    assert passes(config, client_ip) is allowed


def test_a_deny_list_alone_lets_all_others_pass() -> None:
    config = Config(deny=("192.0.2.1",))
    assert (passes(config, "192.0.2.1"), passes(config, "192.0.2.2")) == (False, True)


def test_decisions_are_remembered_and_bounded() -> None:
    ip_allow = IpAllow(Config(deny=("192.0.2.0/24",)), FakeTools())
    for number in range(10_000):
        ip_allow.on_request_head(exchange(client_ip=f"10.0.{number >> 8}.{number & 255}"))
    assert len(ip_allow._decided) <= 4096
    with pytest.raises(Fault):
        ip_allow.on_request_head(exchange(client_ip="192.0.2.9"))
    with pytest.raises(Fault):
        ip_allow.on_request_head(exchange(client_ip="192.0.2.9"))


def test_shadow_counts_like_its_enforced_twin_and_lets_pass_s8_4() -> None:
    tools = FakeTools()
    shadow = IpAllow(Config(deny=("192.0.2.1",), shadow=True), tools)
    for client_ip in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        assert shadow.on_request_head(exchange(client_ip=client_ip)) is None
    assert tools.count("auth_total", method="ip", outcome="would_deny") == 2
    assert len(tools.lines) == 2


@pytest.mark.parametrize("settings", [{}, {"allow": ["10.0.0.1/8"]}, {"deny": ["nonsense"]}, {"deny": [], "x": 1}])
def test_impossible_lists_are_refused_at_load(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)


def test_the_config_survives_the_generation_file() -> None:
    config = Config(allow=("10.0.0.0/8",), deny=("::1",))
    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert all(field.description for field in Config.model_fields.values())
