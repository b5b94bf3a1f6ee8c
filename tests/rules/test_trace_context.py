"""W3C trace context (S26.9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.trace_context import RANDOM_BITS, TraceContext, continue_trace, parse_parent, parse_state

RANDOM = bytes(range(1, 25))
BITS = int.from_bytes(RANDOM, "big")
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def told(context: TraceContext) -> tuple[str, str, str, bool, str]:
    return context.trace_id, context.span_id, context.parent, context.sampled, context.state


@pytest.mark.parametrize(
    ("value", "parent"),
    [
        (f"00-{TRACE}-{SPAN}-01", (TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-00", (TRACE, SPAN, False)),
        (f"00-{TRACE}-{SPAN}-ff", (TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-02", (TRACE, SPAN, False)),
        (f"cc-{TRACE}-{SPAN}-01", (TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", (TRACE, SPAN, True)),
        (f"01-{TRACE}-{SPAN}-01-", (TRACE, SPAN, True)),
    ],
)
def test_a_valid_parent_is_read(value: str, parent: tuple[str, str, bool]) -> None:
    assert parse_parent(value) == parent


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f".0-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}\u0661-{SPAN}-01",
    ],
)
def test_anything_else_starts_a_new_trace(value: str) -> None:
    """Two fields arrive joined and are no error either."""
    assert parse_parent(value) is None
    context = continue_trace(value, "k=v", BITS, True)
    assert told(context) == (RANDOM[:16].hex(), RANDOM[16:].hex(), "", True, "")


def test_a_trace_is_continued_with_a_span_of_ours() -> None:
    context = continue_trace(f"00-{TRACE}-{SPAN}-00", "a=1, b=2", BITS, True)
    assert told(context) == (TRACE, RANDOM[16:].hex(), SPAN, False, "a=1,b=2")


def test_without_a_parent_the_decision_is_ours_and_the_state_is_dropped() -> None:
    assert told(continue_trace(None, "a=1", BITS, False)) == (RANDOM[:16].hex(), RANDOM[16:].hex(), "", False, "")


def test_ids_are_never_zero() -> None:
    context = continue_trace(None, None, 0, True)
    assert context.trace_id == "0" * 31 + "1"
    assert context.span_id == "0" * 15 + "1"


@pytest.mark.parametrize(
    ("value", "state"),
    [
        ("a=1", "a=1"),
        ("a=1,b=2", "a=1,b=2"),
        ("b=2 ,\ta=1", "b=2,a=1"),
        ("a=1,,b=2, ,", "a=1,b=2"),
        ("a=1,a=1", "a=1,a=1"),
        ("fw529a3039@dt=FfAAADxxx", "fw529a3039@dt=FfAAADxxx"),
        ("a-_*/0=!\"#$%&'()*+-./:;<>?@[]^_`{|}~ x", "a-_*/0=!\"#$%&'()*+-./:;<>?@[]^_`{|}~ x"),
        ("a=" + "v" * 256, "a=" + "v" * 256),
        ("k" * 256 + "=1", "k" * 256 + "=1"),
        ("t" * 241 + "@" + "v" * 14 + "=1", "t" * 241 + "@" + "v" * 14 + "=1"),
        ("1a=1", "1a=1"),
        (",".join(f"k{i}=v" for i in range(32)), ",".join(f"k{i}=v" for i in range(32))),
        ("", ""),
        (" , ", ""),
        (",".join(f"k{i}=v" for i in range(33)), ""),
        ("a", ""),
        ("a=", ""),
        ("=1", ""),
        ("A=1", ""),
        ("a =1", ""),
        ("a=1=2", ""),
        ("a@=1", ""),
        ("@a=1", ""),
        ("a@@b=1", ""),
        ("a@b@c=1", ""),
        ("a=é", ""),
        ("a=1,b", ""),
        ("a=" + "v" * 257, ""),
        ("k" * 257 + "=1", ""),
        ("t" * 242 + "@v=1", ""),
        ("t@" + "v" * 15 + "=1", ""),
    ],
)
def test_state_travels_in_order_or_not_at_all(value: str, state: str) -> None:
    assert parse_state(value) == state


@given(st.text(max_size=80), st.text(max_size=80), st.integers(0, 2**RANDOM_BITS - 1))
def test_whatever_comes_the_context_is_well_formed(parent: str, state: str, random: int) -> None:
    context = continue_trace(parent, state, random, True)
    assert parse_parent(f"00-{context.trace_id}-{context.span_id}-01") == (context.trace_id, context.span_id, True)
