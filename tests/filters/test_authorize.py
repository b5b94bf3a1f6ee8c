"""S8.1, S8.4: if any rule exists and none allows, deny; a missing scope says so."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.identity import Identity
from tidegate.filters.authorize import Authorize, Config
from tidegate.rules.credentials import offer

CALLER = Identity(
    "mobile", "jwt", tags=frozenset({"gold", "eu"}), scopes=frozenset({"read", "write"}),
    claims={"role": "admin", "groups": ["dev", "ops"], "level": 1, "staff": True},
)  # fmt: skip


def verdict(identity: Identity | None = CALLER, **settings: Any) -> Fault | None:
    x = exchange()
    x.identity = identity
    try:
        assert Authorize(Config.model_validate(settings), FakeTools()).on_request_head(x) is None
    except Fault as fault:
        return fault
    return None


@pytest.mark.parametrize(
    "settings",
    [{}, {"consumers": ["partner", "mobile"]}, {"tags": ["gold", "silver"]}, {"scopes": ["read"]},
     {"scopes": ["write", "read"]}, {"claims": {"role": "admin"}}, {"claims": {"role": ["user", "admin"]}},
     {"claims": {"groups": "ops"}}, {"claims": {"groups": ["qa", "dev"]}}, {"claims": {"level": 1, "staff": True}},
     {"consumers": ["mobile"], "tags": ["eu"], "scopes": ["read"], "claims": {"level": 1}}],
)  # fmt: skip
def test_a_caller_who_meets_every_rule_passes(settings: dict[str, Any]) -> None:
    assert verdict(**settings) is None


@pytest.mark.parametrize(
    "settings",
    [{"consumers": ["partner"]}, {"consumers": ["Mobile"]}, {"tags": ["silver"]}, {"claims": {"role": "adm"}},
     {"claims": {"absent": None}}, {"claims": {"level": True}}, {"claims": {"staff": 1}}, {"claims": {"groups": "qa"}},
     {"claims": {"role": "admin", "level": 2}}, {"consumers": ["mobile"], "tags": ["silver"]},
     {"claims": {"groups": []}}],
)  # fmt: skip
def test_one_rule_that_does_not_hold_is_403(settings: dict[str, Any]) -> None:
    fault = verdict(**settings)
    assert fault is not None
    assert (fault.status, fault.code, fault.fields) == (403, "forbidden", [])


def test_a_missing_scope_is_403_insufficient_scope() -> None:
    fault = verdict(scopes=["read", "admin"])
    assert fault is not None
    assert (fault.status, fault.code) == (403, "scope")
    assert fault.fields == [("www-authenticate", 'Bearer error="insufficient_scope", scope="read admin"')]


@pytest.mark.parametrize("settings", [{}, {"tags": ["gold"]}, {"scopes": ["read"]}])
def test_nobody_verified_is_401(settings: dict[str, Any]) -> None:
    fault = verdict(None, **settings)
    assert fault is not None
    assert (fault.status, fault.fields) == (401, [("www-authenticate", "Bearer")])


def test_behind_optional_filters_the_401_names_every_scheme_s7_2() -> None:
    x = exchange()
    offer(x, "Bearer")
    offer(x, 'Basic realm="tidegate"')
    with pytest.raises(Fault) as caught:
        Authorize(Config(), FakeTools()).on_request_head(x)
    assert [value for _, value in caught.value.fields] == ["Bearer", 'Basic realm="tidegate"']


def test_shadow_decides_counts_and_lets_pass_s8_4() -> None:
    tools = FakeTools()
    shadow = Authorize(Config(tags=("silver",), shadow=True), tools)
    for identity in (CALLER, None):
        x = exchange()
        x.identity = identity
        assert shadow.on_request_head(x) is None
    assert tools.count("auth_total", method="authorize", outcome="would_deny") == 2
    assert tools.lines[0] == ("info", "authorize would deny", {"route": "", "consumer": "mobile", "code": "forbidden"})


@pytest.mark.parametrize(
    "settings", [{"consumers": []}, {"tags": []}, {"scopes": []}, {"claims": {}}, {"scopes": ['a"b']},
                 {"scopes": ["a b"]}, {"role": "x"}]
)  # fmt: skip
def test_an_empty_list_never_means_all_id7(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)


def test_it_reads_the_identity_and_describes_its_settings() -> None:
    assert (Authorize.stage, Authorize.reads_identity) == ("authorize", True)
    config = Config(tags=("a",), claims={"a": [1]})
    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert all(field.description for field in Config.model_fields.values())
