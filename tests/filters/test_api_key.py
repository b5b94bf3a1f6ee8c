"""S7.2, S7.3, S7.4, S7.5, S7.7, S7.8, S7.9 and the abuse cases AU-* that keys can meet."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.assembly.consumers import Callers, Configured, WorkerConsumers
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.filters.api_key import ApiKey, Config
from tidegate.ports.consumers import Consumer
from tidegate.rules.credentials import digest_of
from tidegate.rules.sigv4 import GATHERED, body_hash, sign

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"


@pytest.fixture
def tools() -> FakeTools:
    made = FakeTools()
    made.consumers.add(Consumer("mobile", key_id="m1", tags=("gold",), scopes=("read",), priority=1), "tg-mobile-key")
    made.consumers.add(Consumer("partner", tenant="other"), "tg-partner-key")
    return made


def refused(api_key: ApiKey, x: Exchange) -> Fault:
    with pytest.raises(Fault) as caught:
        api_key.on_request_head(x)
    assert x.identity is None
    return caught.value


@pytest.mark.parametrize(
    "fields", [[("authorization", "Bearer tg-mobile-key")], [("authorization", "bearer  tg-mobile-key")],
               [("x-api-key", "tg-mobile-key")],
               [("x-api-key", "tg-mobile-key"), ("authorization", "Bearer tg-mobile-key")]]
)  # fmt: skip
def test_a_good_key_gives_its_identity_and_does_not_travel_on_s7_5(
    tools: FakeTools, fields: list[tuple[str, str]]
) -> None:
    x = exchange(fields=fields)
    assert ApiKey(Config(), tools).on_request_head(x) is None
    assert x.identity is not None
    assert (x.identity.consumer, x.identity.method, x.identity.key_id) == ("mobile", "api_key", "m1")
    assert (x.identity.tags, x.identity.scopes, x.identity.priority) == (frozenset({"gold"}), frozenset({"read"}), 1)
    assert x.auth == "api_key"
    assert x.get("authorization") is None
    assert x.get("x-api-key") is None


def test_forward_credentials_sends_the_key_on(tools: FakeTools) -> None:
    x = exchange(fields=[("x-api-key", "tg-mobile-key")])
    ApiKey(Config(forward_credentials=True), tools).on_request_head(x)
    assert x.get("x-api-key") == "tg-mobile-key"


def test_a_basic_authorization_beside_a_key_belongs_to_the_upstream(tools: FakeTools) -> None:
    x = exchange(fields=[("x-api-key", "tg-mobile-key"), ("authorization", "Basic dTpw")])
    ApiKey(Config(), tools).on_request_head(x)
    assert (x.get("x-api-key"), x.get("authorization")) == (None, "Basic dTpw")


@pytest.mark.parametrize(
    "fields", [[], [("authorization", "Bearer")], [("authorization", "Bearer ")], [("authorization", "Basic dTpw")],
               [("authorization", "Bearer sk-0123456789abcdef0123456789abcdef")], [("x-api-key", "")],
               [("x-api-key", "tg-mobile-kez")], [("authorization", "tg-mobile-key")]]
)  # fmt: skip
def test_missing_and_wrong_keys_get_the_same_401_au_no_key_au_fabricated_key(
    tools: FakeTools, fields: list[tuple[str, str]]
) -> None:
    fault = refused(ApiKey(Config(), tools), exchange(fields=fields))
    assert (fault.status, fault.code, fault.reason) == (401, "unauthenticated", "")
    assert fault.detail == "The request needs valid credentials."
    assert fault.fields == [("www-authenticate", "Bearer")]


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("name", ["api_key", "key", "access_token", "token"])
def test_a_key_in_the_query_is_refused_au_key_in_query(tools: FakeTools, name: str, optional: bool) -> None:
    fault = refused(ApiKey(Config(optional=optional), tools), exchange(query=f"a=1&{name}=tg-mobile-key"))
    assert fault.status == 401
    assert "tg-mobile-key" not in repr(fault.args)


def test_two_different_credentials_are_ambiguous_s7_3(tools: FakeTools) -> None:
    x = exchange(fields=[("x-api-key", "tg-mobile-key"), ("authorization", "Bearer tg-partner-key")])
    fault = refused(ApiKey(Config(), tools), x)
    assert (fault.status, fault.code, fault.reason) == (400, "bad_request", "ambiguous_credentials")


@pytest.mark.parametrize(
    "trouble", [RuntimeError("x"), TimeoutError(), ConnectionRefusedError(), asyncio.CancelledError(),
                Fault("auth_unavailable", retry_after=1.0)]
)  # fmt: skip
def test_a_failing_store_is_503_and_never_401_au_auth_fallback_empty(tools: FakeTools, trouble: BaseException) -> None:
    tools.consumers.trouble = trouble
    fault = refused(ApiKey(Config(), tools), exchange(fields=[("x-api-key", "tg-mobile-key")]))
    assert (fault.status, fault.code, fault.retry_after) == (503, "auth_unavailable", 1.0)


def test_keys_with_the_same_start_keep_their_own_verdicts_au_prefix_collision(tools: FakeTools) -> None:
    good = "a" * 20 + "-good"
    tools.consumers.add(Consumer("prefix"), good)
    api_key = ApiKey(Config(failed_tries=1000), tools)
    for _ in range(100):
        x = exchange(fields=[("x-api-key", good)])
        api_key.on_request_head(x)
        assert x.identity is not None and x.identity.consumer == "prefix"
        assert refused(api_key, exchange(fields=[("x-api-key", "a" * 20 + "-evil")])).status == 401


def test_only_failing_tries_of_an_attacked_address_are_slowed_down_s7_7_au_brute(tools: FakeTools) -> None:
    api_key = ApiKey(Config(failed_tries=20), tools)
    statuses = [refused(api_key, exchange(fields=[("x-api-key", f"guess{n}")])).status for n in range(40)]
    assert statuses == [401] * 20 + [429] * 20
    x = exchange(fields=[("x-api-key", "tg-mobile-key")])
    api_key.on_request_head(x)
    assert x.identity is not None
    other = refused(api_key, exchange(fields=[("x-api-key", "guess")], client_ip="192.0.2.2"))
    assert other.status == 401
    fault = refused(ApiKey(Config(failed_tries=20), tools), exchange(fields=[("x-api-key", "guess")]))
    assert (fault.code, fault.retry_after) == ("rate_limited", 60.0)  # another place shares the count
    tools.advance(60)
    assert refused(api_key, exchange(fields=[("x-api-key", "guess")])).status == 401


def test_a_missing_key_is_no_failed_try(tools: FakeTools) -> None:
    api_key = ApiKey(Config(failed_tries=1), tools)
    assert [refused(api_key, exchange()).status for _ in range(5)] == [401] * 5


def test_a_new_epoch_voids_what_was_remembered(tools: FakeTools) -> None:
    api_key = ApiKey(Config(), tools)
    api_key.on_request_head(exchange(fields=[("x-api-key", "tg-mobile-key")]))
    api_key.on_request_head(exchange(fields=[("x-api-key", "tg-mobile-key")]))
    assert tools.consumers.asked == ["tg-mobile-key"]
    del tools.consumers.keys["tg-mobile-key"]
    tools.consumers.version += 1
    assert refused(api_key, exchange(fields=[("x-api-key", "tg-mobile-key")])).status == 401


def test_no_remembered_identity_outlives_its_key_au_expired_clock(tools: FakeTools) -> None:
    consumers = WorkerConsumers((b"p" * 32,), tools.wall)
    brief = Consumer("brief", expires=tools.wall() + 30)
    consumers.configure(Callers([Configured(brief, (digest_of(b"p" * 32, b"brief-key"),))]))
    tools.consumers = consumers  # type: ignore[assignment]
    api_key = ApiKey(Config(), tools)
    api_key.on_request_head(exchange(fields=[("x-api-key", "brief-key")]))
    tools.advance(30)
    assert refused(api_key, exchange(fields=[("x-api-key", "brief-key")])).status == 401
    tools.advance(-3600)
    assert refused(api_key, exchange(fields=[("x-api-key", "brief-key")])).status == 401


def test_optional_lets_strangers_and_other_schemes_pass_but_no_wrong_key_s7_3(tools: FakeTools) -> None:
    api_key = ApiKey(Config(optional=True), tools)
    for fields in ([], [("authorization", "Basic dTpw")], [("authorization", f"Bearer {JWT}")]):
        x = exchange(fields=fields)
        assert api_key.on_request_head(x) is None
        assert x.identity is None
    assert refused(api_key, exchange(fields=[("x-api-key", "wrong")])).status == 401


def test_optional_leaves_an_earlier_identity_alone(tools: FakeTools) -> None:
    first = exchange(fields=[("x-api-key", "tg-mobile-key")])
    ApiKey(Config(), tools).on_request_head(first)
    x = exchange(fields=[("x-api-key", "tg-partner-key")])
    x.identity = first.identity
    ApiKey(Config(optional=True), tools).on_request_head(x)
    assert x.identity is first.identity


def test_verdicts_are_counted(tools: FakeTools) -> None:
    api_key = ApiKey(Config(), tools)
    api_key.on_request_head(exchange(fields=[("x-api-key", "tg-mobile-key")]))
    refused(api_key, exchange())
    refused(api_key, exchange(fields=[("x-api-key", "wrong")]))
    assert tools.count("auth_total", method="api_key", outcome="ok") == 1
    assert tools.count("auth_total", method="api_key", outcome="refused") == 2


def test_unknown_settings_are_refused_and_every_setting_is_described() -> None:
    with pytest.raises(ValidationError):
        Config(header="x-key")  # type: ignore[call-arg]
    assert all(field.description for field in Config.model_fields.values())


# -- signed requests (LLM 2) -------------------------------------------------------------------------------------------


def signed(
    tools: FakeTools, secret: str = "s3cret", body: bytes = b"{}", access_key: str = "cfg0123456789abc"
) -> Exchange:
    target = "/model/anthropic.claude%3A0/converse?a=1"
    added = sign("POST", "gw.example", *target.split("?"), [], body_hash(body), access_key, secret, "", "eu-west-1",
                 "bedrock", tools.wall())  # fmt: skip
    return exchange("POST", target, added, host="gw.example")


@pytest.fixture
def signers(tools: FakeTools) -> FakeTools:
    tools.consumers.access_keys["cfg0123456789abc"] = (Consumer("mobile", key_id="m1"), "s3cret")
    return tools


def test_a_signature_over_the_body_that_the_lane_has_gathered_is_the_key_llm_2(signers: FakeTools) -> None:
    x = signed(signers)
    x.note(GATHERED, body_hash(b"{}"))
    ApiKey(Config(), signers).on_request_head(x)
    assert x.identity is not None and (x.identity.consumer, x.identity.key_id) == ("mobile", "m1")
    assert (x.auth, x.get("authorization")) == ("api_key", None)


@pytest.mark.parametrize(
    ("secret", "access_key", "body"),
    [
        ("other", "cfg0123456789abc", b"{}"),
        ("s3cret", "cfgunknown", b"{}"),
        ("s3cret", "cfg0123456789abc", b'{"more": 1}'),
    ],
)
def test_a_signature_that_does_not_hold_is_the_one_401_and_counts_as_a_failed_try(
    signers: FakeTools, secret: str, access_key: str, body: bytes
) -> None:
    x = signed(signers, secret, access_key=access_key)
    x.note(GATHERED, body_hash(body))
    fault = refused(ApiKey(Config(), signers), x)
    assert (fault.code, fault.reason, fault.fields) == ("unauthenticated", "", [("www-authenticate", "Bearer")])
    assert len(signers.consumers.failures) == 1


def test_an_old_signature_is_refused(signers: FakeTools) -> None:
    x = signed(signers)
    x.note(GATHERED, body_hash(b"{}"))
    signers.advance(301.0)
    assert refused(ApiKey(Config(), signers), x).code == "unauthenticated"


def test_signatures_of_plain_routes_are_their_upstreams_business(signers: FakeTools) -> None:
    assert refused(ApiKey(Config(), signers), signed(signers)).code == "unauthenticated"
    x = signed(signers)
    ApiKey(Config(optional=True), signers).on_request_head(x)
    assert x.identity is None and x.get("authorization") is not None


def test_trouble_with_the_look_up_of_an_access_key_is_503(signers: FakeTools) -> None:
    signers.consumers.trouble = OSError("disk")
    x = signed(signers)
    x.note(GATHERED, body_hash(b"{}"))
    assert refused(ApiKey(Config(), signers), x).code == "auth_unavailable"
