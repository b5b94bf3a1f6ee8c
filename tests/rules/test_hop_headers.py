"""What travels on and what does not (S4.1-S4.3, S4.6, S2.13)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import Fields, HeadMemo, RequestHead, ResponseHead
from tidegate.rules.hop_headers import (
    HOP_BY_HOP,
    HopRules,
    check_loop,
    nominated,
    request_fields,
    request_text,
    response_fields,
    response_text,
)
from tidegate.wire.http1 import field_lines


def exchange(fields: Fields, *, trusted: bool = False, upgrade: str = "", version: int = 11) -> Exchange:
    index: dict[str, str] = {}
    for name, value in fields:
        index[name] = f"{index[name]}, {value}" if name in index else value
    head = RequestHead("GET", "/", version, fields, index, upgrade=upgrade)
    x = Exchange(Peer("l", "203.0.113.9", local_port=8080, trusted=trusted), head, 0.0, 0.0)
    x.host = "gw"
    return x


MADE = [
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "gw"),
    ("x-forwarded-port", "8080"),
    ("via", "1.1 tidegate"),
]
RULES = HopRules()


def passed(fields: Fields, rules: HopRules = RULES, *, trusted: bool = False) -> Fields:
    """What of *fields* the upstream gets, without what is always added."""
    sent = request_fields(exchange([("host", "gw"), *fields], trusted=trusted), rules, "up")
    return [field for field in sent if field not in MADE and field[0] != "host"]


def test_a_plain_request_to_the_field() -> None:
    x = exchange([("host", "gw"), ("accept", "*/*"), ("content-length", "3"), ("cookie", "a=1"), ("accept", "x")])
    x.request_id = "id-1"
    x.trace_id, x.span_id, x.sampled, x.trace_state = "a" * 32, "b" * 16, True, "k=v"
    assert request_fields(x, RULES, "up.example") == [
        ("host", "up.example"),
        ("accept", "*/*"),
        ("cookie", "a=1"),
        ("accept", "x"),
        *MADE,
        ("x-request-id", "id-1"),
        ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),
        ("tracestate", "k=v"),
    ]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_end_here_in_both_directions(name: str) -> None:
    """S4.1"""
    value = "close" if name == "connection" else "x"
    assert passed([(name, value), ("a", "b")]) == [("a", "b")]
    assert response_fields([(name, value), ("a", "b")]) == [("a", "b")]


def test_the_clients_own_ids_and_framing_are_replaced() -> None:
    fields = [("x-request-id", "1"), ("traceparent", "p"), ("tracestate", "s"), ("content-length", "1")]
    assert passed(fields) == []
    assert passed(fields, trusted=True) == []


def test_nominated_fields_are_dropped() -> None:
    """S4.1, S4.2"""
    assert passed([("connection", "close, X-Hop ,,x-other"), ("x-hop", "1"), ("x-other", "2"), ("x-kept", "3")]) == [
        ("x-kept", "3")
    ]


@pytest.mark.parametrize(
    "name",
    ["Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding", "Authorization", "X-Api-Key",
     "Cookie", "X-Forwarded-For", "X-Forwarded-Anything", "Forwarded", "X-Real-IP", "Client-Cert", "Via", "Traceparent",
     "Tracestate", "X-Request-ID", "Idempotency-Key", "X-Tenant-Id", "X-Consumer-Id", "X-User-Name", "X-Tidegate-Debug",
     "Expect", "X-Configured", "a b", "a;b", "a=b"],
)  # fmt: skip
def test_a_protected_name_cannot_be_nominated(name: str) -> None:
    """S4.2, HF-connection-nominated"""
    identity = frozenset({"x-configured"})
    for value in (name, f"close, {name.lower()}"):
        with pytest.raises(Fault) as caught:
            nominated(value, identity)
        assert (caught.value.status, caught.value.code, caught.value.close) == (400, "bad_request", True)
        x = exchange([("host", "gw"), ("connection", value)])
        with pytest.raises(Fault, match="bad_request"):
            request_fields(x, HopRules(identity=identity), "up")


@pytest.mark.parametrize("value", ["close", "keep-alive", "Keep-Alive", "Upgrade"])
def test_the_usual_options_nominate_nothing(value: str) -> None:
    assert nominated(value) == frozenset()


def test_options_and_other_names_are_nominated() -> None:
    assert nominated("Keep-Alive, X-Hop, TE") == {"keep-alive", "x-hop", "te"}


CLAIMS = [
    ("x-forwarded-for", "1.1.1.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-prefix", "/p"),
    ("x-forwarded-whatever", "w"),
    ("forwarded", "for=1.1.1.1"),
    ("x-real-ip", "1.1.1.1"),
    ("client-cert", ":x:"),
    ("x-tidegate-attempt", "2"),
    ("x-consumer-id", "alice"),
]


def test_claims_of_an_untrusted_peer_are_removed() -> None:
    """S4.4, S4.6, S7.15"""
    assert passed(CLAIMS, HopRules(identity=frozenset({"x-consumer-id"}))) == []


def test_claims_of_a_trusted_peer_travel_and_the_chain_goes_on() -> None:
    """S4.5, S4.6"""
    x = exchange([("host", "gw"), *CLAIMS], trusted=True)
    sent = request_fields(x, HopRules(identity=frozenset({"x-consumer-id"})), "up")
    assert sent == [
        ("host", "up"),
        *CLAIMS[2:],
        ("x-forwarded-for", "1.1.1.1, 203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "gw"),
        ("x-forwarded-port", "8080"),
        ("via", "1.1 tidegate"),
    ]


def test_expect_travels_on() -> None:
    """S2.13"""
    assert passed([("expect", "100-continue")]) == [("expect", "100-continue")]


def test_method_overrides_are_passed_but_mean_nothing() -> None:
    """HL-method-override"""
    assert passed([("x-http-method-override", "DELETE")]) == [("x-http-method-override", "DELETE")]


def test_via_is_appended_to() -> None:
    """S4.3"""
    x = exchange([("host", "gw"), ("via", "1.0 fred")], version=10)
    assert dict(request_fields(x, RULES, "up"))["via"] == "1.0 fred, 1.0 tidegate"
    assert dict(request_fields(x, HopRules(via=False), "up"))["via"] == "1.0 fred"


def test_forwarded_is_made_on_request() -> None:
    """S4.5"""
    sent = request_fields(exchange([("host", "gw"), ("forwarded", "for=1.1.1.1")]), HopRules(forwarded=True), "up")
    assert [f for f in sent if f[0] == "forwarded"] == [
        ("forwarded", 'for=203.0.113.9;host="gw";proto=http;by=_tidegate')
    ]


def test_filters_add_replace_and_remove() -> None:
    x = exchange([("host", "gw"), ("a", "1"), ("b", "2"), ("c", "3")])
    x.set_field("a", "9")
    x.remove_field("b")
    x.add_field("d", "4")
    x.set_field("via", "mine")
    x.remove_field("x-forwarded-port")
    x.set_field("content-length", "999")
    x.add_field("transfer-encoding", "chunked")
    x.add_field("host", "evil")
    assert request_fields(x, RULES, "up") == [
        ("host", "up"),
        ("c", "3"),
        *MADE[:3],
        ("a", "9"),
        ("d", "4"),
        ("via", "mine"),
    ]


def test_a_websocket_upgrade_is_made_anew() -> None:
    """S2.14, S18.15"""
    fields = [
        ("host", "gw"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "k"),
    ]
    sent = request_fields(exchange(fields, upgrade="websocket"), RULES, "up")
    assert sent == [
        ("host", "up"),
        ("sec-websocket-key", "k"),
        *MADE,
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
    ]
    assert ("upgrade", "websocket") not in request_fields(exchange(fields), RULES, "up")


def test_the_head_itself_is_not_changed() -> None:
    x = exchange([("host", "gw"), ("a", "1")])
    request_fields(x, RULES, "up").clear()
    assert x.head.fields == [("host", "gw"), ("a", "1")]


def test_an_answers_framing_and_nominations_are_dropped_but_not_protected_names() -> None:
    """S4.1, S4.2"""
    fields = [
        ("connection", "close, X-Hop, Set-Cookie"),
        ("connection", "content-type, x-more"),
        ("x-hop", "1"),
        ("x-more", "2"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("content-type", "text/plain"),
        ("content-length", "3"),
        ("date", "D"),
    ]
    assert response_fields(fields) == fields[4:7] + fields[8:]


def test_an_upstreams_request_id_does_not_stand_beside_ours() -> None:
    """S4.12"""
    assert response_fields([("x-request-id", "theirs"), ("a", "b")]) == [("a", "b")]


@pytest.mark.parametrize(
    ("via", "loops"),
    [
        ("", False),
        ("1.1 tidegate", False),
        ("1.1 other, 1.1 tidegate", False),
        ("1.1 tidegate, 1.1 other, 2 tidegate (x)", True),
        ("1.1 tidegate,1.0\ttidegate", True),
        ("1.1 tidegate-2, 1.1 tidegate-3, 1.1 tidegate", False),
        ("tidegate, tidegate", False),
    ],
)
def test_the_third_pass_is_a_loop(via: str, loops: bool) -> None:
    """S4.3: one lawful re-entry is allowed."""
    if not loops:
        check_loop(via, "tidegate")
        return
    with pytest.raises(Fault) as caught:
        check_loop(via, "tidegate")
    assert (caught.value.status, caught.value.code) == (508, "loop_detected")


# -- as text ----------------------------------------------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(
        [("accept", "*/*"), ("cookie", "a=1"), ("x-api-key", "k"), ("x-forwarded-for", "1.2.3.4"), ("te", "trailers"),
         ("x-tidegate-debug", "1"), ("via", "1.1 other"), ("connection", "close"), ("x-tenant-id", "t"), ("x", "\xe9")]
    ),
    max_size=6,
)  # fmt: skip
EDITS = st.lists(st.sampled_from(["accept", "x-api-key", "via", "x-request-id", "x"]), max_size=3)


def as_dict(text: str) -> list[str]:
    return sorted(text.split("\r\n"))


@given(LINES, EDITS, EDITS, st.booleans(), st.sampled_from([10, 11]), st.booleans())
def test_the_text_says_what_the_fields_say(
    fields: Fields, removed: list[str], added: list[str], trusted: bool, version: int, again: bool
) -> None:
    """Whatever is remembered with a block, the lines are those of ``request_fields`` (order aside)."""
    memo = HeadMemo(fields)
    rules = HopRules(identity=frozenset({"x-tenant-id"}))
    for edits in ([], removed, removed) if again else (removed,):
        x = exchange([("host", "gw"), *fields], trusted=trusted, version=version)
        x.head.memo = memo
        x.request_id, x.trace_id, x.span_id, x.sampled = "id-1", "a" * 32, "b" * 16, True
        for name in edits:
            x.remove_field(name)
        for name in added:
            x.add_field(name, "ours")
        assert as_dict(request_text(x, rules, "up")) == as_dict(field_lines(request_fields(x, rules, "up")))


def test_an_answer_is_remembered_as_text_until_somebody_edits_it() -> None:
    fields = [("server", "up"), ("connection", "x-hop"), ("x-hop", "1"), ("date", "D")]
    memo = HeadMemo(fields)
    for _ in range(2):
        assert response_text(ResponseHead(200, "OK", fields, memo=memo)) == ("server: up\r\ndate: D\r\n", True)
    edited = ResponseHead(200, "OK", fields, memo=memo)
    edited.remove("date")
    assert response_text(edited) == ("server: up\r\n", False)
