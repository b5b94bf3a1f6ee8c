"""S7.17: argon2id on a pool of 4, a good pair remembered for a minute, no passwords in the clear."""

from __future__ import annotations

import base64
import inspect
from typing import Any

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from fakes import FakeTools, exchange, finish
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.filters.basic import NOBODY, Basic, Config
from tidegate.ports.consumers import Consumer

CHALLENGE = 'Basic realm="tidegate", charset="UTF-8"'
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("pä:ss")
"""As cheap as argon2id goes: the twin checks what is done with the verdict, not how long it takes."""


def login(user: str = "jürgen", password: str = "pä:ss", **keywords: Any) -> Exchange:
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return exchange(fields=[("authorization", f"Basic {token}")], **keywords)


@pytest.fixture
def tools() -> FakeTools:
    made = FakeTools()
    made.consumers.add(Consumer("jürgen", tenant="t1", tags=("gold",)))
    made.consumers.secrets["jürgen", "basic"] = HASH
    return made


def refused(basic: Basic, x: Exchange) -> Fault:
    with pytest.raises(Fault) as caught:
        finish(basic.on_request_head(x))
    assert x.identity is None
    return caught.value


def test_a_good_pair_is_checked_on_the_pool_and_remembered_60_s(tools: FakeTools) -> None:
    basic = Basic(Config(), tools)
    first = login()
    pending = basic.on_request_head(first)
    assert inspect.iscoroutine(pending)
    assert finish(pending) is None
    assert first.identity is not None
    assert (first.identity.consumer, first.identity.tenant, first.identity.method) == ("jürgen", "t1", "basic")
    assert (first.auth, first.get("authorization")) == ("basic", None)
    assert tools.offloaded == [("argon2", 4)]
    again = login()
    assert basic.on_request_head(again) is None
    assert again.identity is first.identity
    tools.advance(60)
    finish(basic.on_request_head(login()))
    assert tools.offloaded == [("argon2", 4)] * 2


def test_what_is_remembered_is_no_password(tools: FakeTools) -> None:
    basic = Basic(Config(), tools)
    finish(basic.on_request_head(login()))
    (mark,) = basic._remembered
    assert len(mark) == 32


@pytest.mark.parametrize(("user", "password"), [("jürgen", "wrong"), ("nobody", "pä:ss"), ("jürgen", "")])
def test_a_wrong_password_and_an_unknown_user_take_the_same_way_to_the_same_401_s7_2(
    tools: FakeTools, user: str, password: str
) -> None:
    fault = refused(Basic(Config(), tools), login(user, password))
    assert (fault.status, fault.fields) == (401, [("www-authenticate", CHALLENGE)])
    assert tools.offloaded == [("argon2", 4)]


def test_no_password_fits_the_hash_of_nobody() -> None:
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(NOBODY, "")


@pytest.mark.parametrize("value", ["Basic", "Basic !", "Basic dXNlcg==", "Basic OnA=", "basic\xe9"])
def test_malformed_credentials_are_401_without_a_check(tools: FakeTools, value: str) -> None:
    assert refused(Basic(Config(), tools), exchange(fields=[("authorization", value)])).status == 401
    assert tools.offloaded == []


def test_disabled_and_expired_consumers_are_401(tools: FakeTools) -> None:
    for consumer in (Consumer("jürgen", disabled=True), Consumer("jürgen", expires=tools.wall())):
        tools.consumers.add(consumer)
        assert refused(Basic(Config(), tools), login()).status == 401


def test_no_remembered_pair_outlives_its_consumer(tools: FakeTools) -> None:
    tools.consumers.add(Consumer("jürgen", expires=tools.wall() + 10))
    basic = Basic(Config(), tools)
    finish(basic.on_request_head(login()))
    tools.advance(10)
    assert refused(basic, login()).status == 401


def test_a_new_epoch_voids_what_was_remembered(tools: FakeTools) -> None:
    basic = Basic(Config(), tools)
    finish(basic.on_request_head(login()))
    tools.consumers.add(Consumer("jürgen", disabled=True))
    assert refused(basic, login()).status == 401


def test_a_verdict_from_before_a_change_is_not_kept(tools: FakeTools) -> None:
    basic = Basic(Config(), tools)
    pending = basic.on_request_head(login())
    tools.consumers.version += 1
    finish(pending)
    assert basic._remembered == {} or basic._epoch != tools.consumers.epoch()


def test_a_full_pool_is_503(tools: FakeTools) -> None:
    tools.offload_trouble = Fault("overloaded", reason="queue_full")
    assert refused(Basic(Config(), tools), login()).status == 503


def test_a_secret_that_is_no_hash_is_our_trouble(tools: FakeTools) -> None:
    tools.consumers.secrets["jürgen", "basic"] = "plain"
    fault = refused(Basic(Config(), tools), login())
    assert (fault.status, fault.code) == (503, "auth_unavailable")
    assert "plain" not in str(tools.lines)


def test_failing_tries_are_slowed_down_s7_7(tools: FakeTools) -> None:
    basic = Basic(Config(failed_tries=2), tools)
    assert [refused(basic, login(password="x")).status for _ in range(4)] == [401, 401, 429, 429]
    good = login()
    finish(basic.on_request_head(good))
    assert good.identity is not None


def test_optional_lets_others_pass(tools: FakeTools) -> None:
    basic = Basic(Config(optional=True), tools)
    x = exchange(fields=[("authorization", "Bearer abc")])
    assert basic.on_request_head(x) is None and x.identity is None
    assert refused(basic, login(password="x")).status == 401


def test_a_listener_without_tls_is_refused_at_load_without_allow_insecure() -> None:
    with pytest.raises(ValueError, match="allow_insecure"):
        Basic(Config(), FakeTools(cleartext=True))
    Basic(Config(allow_insecure=True), FakeTools(cleartext=True))


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Config.model_fields.values())
