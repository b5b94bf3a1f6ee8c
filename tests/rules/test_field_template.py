"""Templates over request, identity and captures (S10.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import exchange
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import ResponseHead
from tidegate.exchange.identity import Identity
from tidegate.rules.field_template import BadTemplate, BadValue, compile_template


def caller() -> Exchange:
    x = exchange("POST", "/orders/7", [("x-a", "one"), ("x-a", "two")], query="q=a%20b+c&q=2&leer=")
    x.identity = Identity("ann", "jwt", tenant="acme", key_id="k1", claims={"n": 7, "ok": True, "list": [1], "u": "ü"})
    x.captures = {"id": "7"}
    x.request_id, x.trace_id, x.route = "r-1", "t-1", "orders"
    return x


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{braces}}", "{braces}"),
        ("{method} {scheme}://{host}{path}?{query}", "POST https://api.example/orders/7?q=a%20b+c&q=2&leer="),
        ("{client_ip}/{request_id}/{trace_id}/{route}", "192.0.2.1/r-1/t-1/orders"),
        ("{tenant}:{consumer}:{key_id}", "acme:ann:k1"),
        ("{request.header.X-A}", "one, two"),
        ("{request.query.q}", "a b c"),
        ("[{request.query.leer}{request.query.none}]", "[]"),
        ("{capture.id}{capture.none}", "7"),
        ("{claim.n}{claim.ok}{claim.list}{claim.none}", "7true"),
        ("{claim.u}", "\xc3\xbc"),
        ("{consumer|required}", "ann"),
    ],
)
def test_values_are_put_in_their_places(text: str, said: str) -> None:
    assert compile_template(text).render(caller()) == said


def test_without_a_caller_identity_values_are_empty() -> None:
    assert compile_template("[{consumer}{tenant}{key_id}{claim.n}]").render(exchange()) == "[]"


def test_a_literal_is_known_at_build_time() -> None:
    assert compile_template("tidegate").literal == "tidegate"
    assert compile_template("{{x}}").literal == "{x}"
    assert compile_template("{host}").literal is None


def test_edits_of_earlier_filters_are_seen() -> None:
    x = caller()
    x.set_field("x-a", "three")
    assert compile_template("{request.header.x-a}").render(x) == "three"


def test_the_way_back_knows_the_answer() -> None:
    head = ResponseHead(404, "Not Found", [("x-b", "1"), ("x-b", "2")])
    template = compile_template("{status} {response.header.x-b}", response=True)
    assert template.render(caller(), head) == "404 1"


@pytest.mark.parametrize(
    "text",
    ["{", "}", "a{b", "{}", "{user}", "{request.header.}", "{request.header.a b}", "{capture.}", "{consumer|upper}",
     "{status}", "{response.header.x}", "a\r\nb", "a\x00", "\u20ac", "{{host}", "{host}\x7f"],
)  # fmt: skip
def test_what_means_nothing_is_refused_at_config_time(text: str) -> None:
    with pytest.raises(BadTemplate):
        compile_template(text)


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\x00b", "a\x1bb", "a\x7f"])
def test_a_control_byte_in_a_value_is_refused_s10_2(value: str) -> None:
    x = caller()
    x.captures["id"] = value
    with pytest.raises(BadValue) as refused:
        compile_template("v={capture.id}").render(x)
    assert value not in str(refused.value)


def test_a_required_value_may_not_be_missing_s10_2() -> None:
    with pytest.raises(BadValue, match=r"claim\.none is required"):
        compile_template("{claim.none|required}").render(caller())


def test_only_inserted_values_are_escaped() -> None:
    x = caller()
    x.captures["id"] = "a b"
    assert (
        compile_template("/x y/{capture.id}").render_with(lambda text, name: f"{name}={text}", x)
        == "/x y/capture.id=a b"
    )


@given(st.text(max_size=30))
def test_no_claim_can_make_a_value_that_a_head_cannot_carry(value: str) -> None:
    x = caller()
    assert x.identity is not None
    x.identity.claims["n"] = value
    try:
        made = compile_template("{claim.n}").render(x)
    except BadValue:
        return
    assert made.encode("latin-1") == value.encode("utf-8", "replace")
    assert not any(character < " " and character != "\t" for character in made)
