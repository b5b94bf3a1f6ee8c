"""One reading of JSON: vectors in three classes - must pass, must not, and the implementation's choice (S3.5)."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import CLIENT, Fault
from tidegate.wire.json_scan import scan

YES: list[tuple[bytes, Any]] = [
    (b"{}", {}),
    (b"[]", []),
    (b" \t\r\n[ ] \n", []),
    (b"null", None),
    (b"true", True),
    (b'""', ""),
    (b"0", 0),
    (b"-0", 0),
    (b"-0.0", -0.0),
    (b"1e5", 1e5),
    (b"1E+2", 100.0),
    (b"123.456e-7", 123.456e-7),
    (b"1e-400", 0.0),
    (b"0e99999", 0.0),
    (b'"a\\"b\\\\c\\/d\\b\\f\\n\\r\\t"', 'a"b\\c/d\b\f\n\r\t'),
    (b'"\\u00e9\\u0000"', "é\0"),
    (b'"\\ud83d\\uDE00"', "\U0001f600"),
    (b'"\\\\ud800"', "\\ud800"),
    ('"é\u2028\U0010ffff\x7f"'.encode(), "é\u2028\U0010ffff\x7f"),
    (b'{"a":{"a":1},"b":[{"a":2}]}', {"a": {"a": 1}, "b": [{"a": 2}]}),
    (b'{"":0}', {"": 0}),
    (b'["[[[[{{{{"]', ["[[[[{{{{"]),
    (b"100000000000000000000", 10**20),
    (b"[" * 64 + b"]" * 64, eval("[" * 64 + "]" * 64)),
]

NO = [
    b"",
    b" ",
    b"{",
    b"[1",
    b"[1,]",
    b"[,1]",
    b"[1,,2]",
    b"[1 2]",
    b"[1]]",
    b"{}}",
    b"[1]x",
    b"1 2",
    b'{"a":1,}',
    b'{"a" 1}',
    b"{a:1}",
    b"{'a':1}",
    b'{"a":1 "b":2}',
    b"{1:1}",
    b'{"a":}',
    b'{"a"}',
    b"[-]",
    b"[+1]",
    b"[01]",
    b"[-01]",
    b"[1.]",
    b"[.5]",
    b"[1e]",
    b"[1e+]",
    b"[0x1]",
    b"[1_0]",
    b"[--1]",
    b"[1.2.3]",
    b"[NaN]",
    b"[Infinity]",
    b"[-Infinity]",
    b"[nan]",
    b"[True]",
    b"[nul]",
    b"[TRUE]",
    b'["a]',
    b"['a']",
    b'["\\x00"]',
    b'["\\a"]',
    b'["\\u12"]',
    b'["\\uqqqq"]',
    b'["\\"]',
    b'["\n"]',
    b'["\t"]',
    b'["\x00"]',
    b'["\x1f"]',
    b"[1]\x00",
    b"[1]\x0c",
    b"\xc2\xa0[]",
    b"[1]//c",
    b"/**/[1]",
    "[１]".encode(),
    b"*",
    b"<null>",
    b'{"a":1}#',
]

CHOICE = [
    b"\xef\xbb\xbf[]",
    b"\xff\xfe[\x00]\x00",
    b"[\x00]\x00",
    b'["\xff"]',
    b'["\xe9"]',
    b'["\xc0\xaf"]',
    b'["\xed\xa0\x80"]',
    b'["\xf4\xbf\xbf\xbf"]',
    b'["\xe2\x82"]',
    b'["\\ud800"]',
    b'["\\udc00"]',
    b'["\\uD800\\uD800\\uDC00"]',
    b'["\\uDC00\\uD800"]',
    b'["\\ud83d\\\\ude00"]',
    b'{"\\uDFAA":0}',
    b"[1e999]",
    b"[-1E+309]",
    b"[123123e100000]",
    b"[0.4e00669999999999999999999999999999999999999999999999999999969999999006]",
    b"[" + b"9" * 310 + b"]",
    b"[" + b"9" * 350 + b".0]",
    b"[-" + b"9" * 390 + b"]",
    b"[0." + b"1" * 400 + b"]",
]


@pytest.mark.parametrize(("body", "value"), YES)
def test_legal_json_is_read(body: bytes, value: Any) -> None:
    """S3.5, BD-json-nst-y"""
    assert scan(body) == value


@pytest.mark.parametrize("body", NO)
def test_illegal_json_is_refused(body: bytes) -> None:
    """S3.5, BD-json-nst-n"""
    with pytest.raises(Fault) as caught:
        scan(body)
    assert (caught.value.status, caught.value.code, caught.value.side) == (400, "invalid_json", CLIENT)


@pytest.mark.parametrize("body", CHOICE)
def test_what_two_readers_may_read_differently_is_refused(body: bytes) -> None:
    """S3.5, BD-json-nst-i, BD-json-bom-utf16"""
    with pytest.raises(Fault, match="invalid_json"):
        scan(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"model":1,"mod\\u0065l":2}',
        b'[{"b":{"x":1,"y":2,"x":3}}]',
        b'{"":1,"":2}',
    ],
)
def test_a_key_twice_is_refused_even_when_escaped(body: bytes) -> None:
    """S3.5, BD-json-dup-keys"""
    with pytest.raises(Fault, match="duplicate_key"):
        scan(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 65 + b"]" * 65,
        b"[" * 100_000,
        b'[{"a":' * 50_000,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'["]]]]]]]]]]",' * 65 + b"1" + b"]" * 65,
        b'["\\"]]]]",' * 65 + b"1" + b"]" * 65,
        b'["\\\\","]]]",' * 65 + b"1" + b"]" * 65,
    ],
)
def test_depth_is_counted_before_parsing(body: bytes) -> None:
    """S3.5; brackets inside strings do not hide it."""
    with pytest.raises(Fault, match="depth_exceeded"):
        scan(body)


def test_wide_is_not_deep() -> None:
    assert scan(b"[" + b"[]," * 5000 + b"{}]")[-1] == {}
    assert scan(json.dumps([{"a": ["x]y", {"b": '"'}]}] * 500).encode())[499] == {"a": ["x]y", {"b": '"'}]}


def test_keys_are_counted_an_object() -> None:
    """S3.5, BD-json-wide"""
    exact = json.dumps({f"k{i}": 0 for i in range(10_000)}).encode()
    assert len(scan(exact)) == 10_000
    with pytest.raises(Fault) as caught:
        scan(json.dumps({f"k{i}": 0 for i in range(10_001)}).encode())
    assert (caught.value.status, caught.value.code) == (422, "too_many_keys")
    many = json.dumps([{"a": 1, "b": 2}] * 6000).encode()
    assert len(scan(many)) == 6000
    with pytest.raises(Fault, match="duplicate_key"):
        scan(many[:-1] + b',{"a":1,"a":2}]')


def test_digits_are_counted_a_number() -> None:
    """S3.5"""
    tiny = b"0." + b"0" * 398
    assert scan(tiny) == 0.0
    with pytest.raises(Fault, match="invalid_json"):
        scan(tiny + b"0")
    assert scan(b'"' + b"1" * 5000 + b'"') == "1" * 5000


def test_size_is_checked_first() -> None:
    assert scan(b"[1]", max_size=3) == [1]
    with pytest.raises(Fault) as caught:
        scan(b"[1] ", max_size=3)
    assert (caught.value.status, caught.value.close) == (413, True)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'"' + b"\\\\" * 500_000,
        b"9" * 1_000_000,
        b'["' + b"\\u0041" * 160_000 + b'"]',
        b'"' * 1_000_000,
        b"0e00" * 250_000,
        b"\\" * 1_000_000,
    ],
)
def test_hostile_shapes_cost_linear_time(body: bytes) -> None:
    """RELIABILITY P5"""
    started = time.process_time()
    try:
        scan(body)
    except Fault:
        pass
    assert time.process_time() - started < 1.0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(), children, max_size=5),
    max_leaves=30,
)


@given(VALUES, st.booleans())
def test_what_is_written_is_read_back(value: Any, ascii_only: bool) -> None:
    assert scan(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60) | st.text(st.sampled_from('[]{}",:\\u0e19dDcC '), max_size=40).map(str.encode))
def test_we_are_never_laxer_than_the_standard_library(body: bytes) -> None:
    try:
        value = scan(body)
    except Fault:
        return
    assert value == json.loads(body)
    json.dumps(value, ensure_ascii=False).encode()


@given(st.floats(allow_nan=False))
def test_a_number_is_finite_or_refused(number: float) -> None:
    text = repr(number).replace("inf", "1e400").encode()
    if math.isinf(number):
        with pytest.raises(Fault):
            scan(text)
    else:
        assert scan(text) == number
