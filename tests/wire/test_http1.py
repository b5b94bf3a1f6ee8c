"""HTTP/1.1 heads: what passes has one reading, everything else is a Fault that closes (S2, S3.1, S3.2)."""

from __future__ import annotations

import re
from pathlib import Path

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tidegate
from tidegate.exchange.fault import CLIENT, UPSTREAM, Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, UNTIL_CLOSE, RequestHead
from tidegate.wire.http1 import (
    ChunkedDecoder,
    HeadLimits,
    announced_length,
    find_head_end,
    parse_request,
    parse_response,
    scan_partial,
    scan_partial_answer,
)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
P = "POST /echo HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
G = "GET /echo HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer k\r\n"
WS = (
    "GET /chat HTTP/1.1\r\nHost: gw\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {version}\r\n\r\n"
)
J = '{"model":"mock-a","messages":[{"role":"user","content":"hi"}]}'


def parse(text: str | bytes, limits: HeadLimits | None = None) -> RequestHead:
    raw = text if isinstance(text, bytes) else text.encode("latin-1")
    return parse_request(raw, limits or HeadLimits(), METHODS)


def refusal(raw: bytes) -> Fault:
    """What a connection answers that gets *raw* in one read: the head's fault, or the body's."""
    limits = HeadLimits()
    with pytest.raises(Fault) as caught:
        end = find_head_end(raw)
        if end < 0:
            scan_partial(raw, limits, METHODS)
            raise AssertionError("the gate waits for more")
        head = parse_request(raw[:end], limits, METHODS)
        if head.body_length == CHUNKED:
            ChunkedDecoder().feed(raw[end:])
    return caught.value


# -- what passes ------------------------------------------------------------------------------------------------------


def test_a_plain_request_is_read_into_its_parts() -> None:
    head = parse("GET /a/b?x=1&y HTTP/1.1\r\nHost: gw:8080\r\nAccept: */*\r\nX-Empty:\r\n\r\n")
    assert (head.method, head.target, head.version) == ("GET", "/a/b?x=1&y", 11)
    assert head.fields == [("host", "gw:8080"), ("accept", "*/*"), ("x-empty", "")]
    assert head.index == {"host": "gw:8080", "accept": "*/*", "x-empty": ""}
    assert (head.body_length, head.keep_alive, head.expect_continue, head.upgrade) == (NO_BODY, True, False, "")


def test_a_third_request_with_the_same_fields_reads_like_the_first() -> None:
    limits = HeadLimits()
    heads = [parse(f"GET /{i} HTTP/1.1\r\nHost: gw\r\nX-A: 1\r\n\r\n", limits) for i in range(4)]
    assert [head.target for head in heads] == ["/0", "/1", "/2", "/3"]
    assert all(head.fields == heads[0].fields and head.index == heads[0].index for head in heads)
    assert len(limits.requests.blocks) == 1


def test_a_block_that_came_once_is_not_kept() -> None:
    limits = HeadLimits()
    for i in range(500):
        parse(f"GET / HTTP/1.1\r\nHost: gw\r\nX-Id: {i}\r\n\r\n", limits)
    assert limits.requests.blocks == {}


def test_the_memory_of_blocks_is_bounded() -> None:
    limits = HeadLimits()
    for i in range(2500):
        for _ in range(3):
            parse(f"GET / HTTP/1.1\r\nHost: gw\r\nX-Id: {i}\r\n\r\n", limits)
    assert 0 < len(limits.requests.blocks) <= 2048


def test_a_remembered_block_does_not_hide_what_depends_on_the_request_line() -> None:
    limits = HeadLimits()
    block = "Host: gw\r\nContent-Length: 3\r\n\r\n"
    for _ in range(3):
        assert parse("POST / HTTP/1.1\r\n" + block, limits).body_length == 3
    with pytest.raises(Fault):
        parse("HEAD / HTTP/1.1\r\n" + block, limits)
    chunked = "Host: gw\r\nTransfer-Encoding: chunked\r\n\r\n"
    for _ in range(3):
        parse("POST / HTTP/1.1\r\n" + chunked, limits)
    with pytest.raises(Fault):
        parse("POST / HTTP/1.0\r\n" + chunked, limits)


def test_one_leading_crlf_is_skipped() -> None:
    """S2.1"""
    assert parse("\r\n" + G + "\r\n").target == "/echo"
    assert refusal(("\r\n\r\n" + G + "\r\n").encode()).code == "bad_request"


def test_blanks_around_a_value_are_trimmed_and_bytes_from_0x80_kept() -> None:
    """S2.3"""
    head = parse(b"GET / HTTP/1.1\r\nHost: gw\r\nX-A: \t a\tb \t \r\nX-B:\xe9\xff\r\n\r\n")
    assert head.fields[1:] == [("x-a", "a\tb"), ("x-b", "\xe9\xff")]


def test_lines_of_one_name_are_joined_and_cookies_with_a_semicolon() -> None:
    head = parse(G + "X-A: 1\r\nCookie: a=1\r\nx-a: 2\r\nCookie: b=2\r\n\r\n")
    assert (head.index["x-a"], head.index["cookie"]) == ("1, 2", "a=1; b=2")
    assert len(head.fields) == 6


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ("Content-Length: 0\r\n", 0),
        ("Content-Length:62\r\n", 62),
        ("content-length: 999999999999999\r\n", 999_999_999_999_999),
        ("TRANSFER-ENCODING: CHUNKED\r\n", CHUNKED),
        ("Transfer-Encoding:chunked\r\n", CHUNKED),
        ("", NO_BODY),
    ],
)
def test_framing_is_read_from_one_field(lines: str, length: int) -> None:
    """S2.4, S2.5, S2.10, HF-te-case, HF-te-on-get"""
    assert parse(P + lines + "\r\n").body_length == length
    assert parse(G + lines + "\r\n").body_length == length


@pytest.mark.parametrize(
    ("version", "connection", "keep"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close\r\n", False),
        ("1.1", "Connection: Foo, CLOSE\r\n", False),
        ("1.1", "Connection: keep-alive\r\n", True),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive\r\n", True),
        ("1.0", "Connection: Keep-Alive\r\n", True),
        ("1.0", "Connection: keep-alive, close\r\n", False),
    ],
)
def test_version_and_connection_say_whether_the_connection_is_kept(version: str, connection: str, keep: bool) -> None:
    head = parse(f"GET / HTTP/{version}\r\nHost: gw\r\n{connection}\r\n")
    assert head.keep_alive is keep
    assert head.version == (11 if version == "1.1" else 10)


def test_http_10_may_omit_host() -> None:
    """S4.7"""
    assert parse("GET / HTTP/1.0\r\n\r\n").fields == []
    with pytest.raises(Fault):
        parse("GET / HTTP/1.0\r\nHost:\r\n\r\n")


def test_the_asterisk_is_for_options_and_absolute_targets_pass() -> None:
    """S2.2, S4.7"""
    assert parse("OPTIONS * HTTP/1.1\r\nHost: gw\r\n\r\n").target == "*"
    assert parse("GET http://gw/x HTTP/1.1\r\nHost: gw\r\n\r\n").target == "http://gw/x"


def test_100_continue_is_noted_only_where_it_can_be_answered() -> None:
    """S2.13"""
    assert parse(P + "Expect: 100-Continue\r\nContent-Length: 62\r\n\r\n").expect_continue is True
    assert parse(G + "Expect: 100-continue\r\n\r\n").expect_continue is False
    old = P.replace("HTTP/1.1", "HTTP/1.0")
    assert parse(old + "Expect: 100-continue\r\nContent-Length: 62\r\n\r\n").expect_continue is False


def test_a_well_formed_websocket_upgrade_is_seen() -> None:
    """S2.14, S18.15"""
    assert parse(WS.format(version=13)).upgrade == "websocket"


def test_another_websocket_version_is_told_the_one_spoken() -> None:
    """S18.15"""
    with pytest.raises(Fault) as caught:
        parse(WS.format(version=8))
    assert (caught.value.status, caught.value.fields) == (426, [("sec-websocket-version", "13")])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("GET /chat", "POST /chat"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("WebSocket\r\n", "foo\r\n"),
        ("WebSocket\r\n", "websocket, h2c\r\n"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        ("Upgrade: WebSocket", "Content-Length: 3\r\nUpgrade: WebSocket"),
    ],
)
def test_any_other_upgrade_is_a_plain_request(old: str, new: str) -> None:
    """S2.14, HF-upgrade-premature"""
    assert parse(WS.format(version=13).replace(old, new)).upgrade == ""


def test_unknown_underscore_names_pass() -> None:
    """S2.9"""
    assert parse(G + "x_my_field: 1\r\n\r\n").index["x_my_field"] == "1"


def test_nobody_edits_a_request_head_in_place() -> None:
    """Heads of one client share their fields; filters edit through the Exchange. Whoever changes a head's list or
    index changes it for strangers, so the source may not contain such a line. A copy put in its place is the head's
    own."""
    edit = re.compile(
        r"(?:x\.head\.fields|head\.index)(?:\[[^\]]*\]\s*=[^=]|\s*\+?=(?!=| \{\*\*)|"
        r"\.(?:append|pop|clear|update|setdefault|insert|extend|remove|sort)\()"
    )
    assert edit.search('x.head.index["a"] = "b"') and edit.search("head.index.pop(name)")
    for path in sorted(Path(tidegate.__file__).parent.rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert edit.search(line) is None, f"{path.name}:{number} edits a head in place: {line.strip()}"


# -- what does not: the framing abuse payloads ------------------------------------------------------------------------

ZERO = "0\r\n\r\n"
CHUNKS = f"3e\r\n{J}\r\n{ZERO}"


def _te(value: str, body: str = CHUNKS) -> str:
    return f"{P}Transfer-Encoding: {value}\r\n\r\n{body}"


def _chunked(body: str) -> str:
    return f"{P}Transfer-Encoding: chunked\r\n\r\n{body}"


def _length(value: str) -> str:
    return f"{P}Content-Length: {value}\r\n\r\n{J}"


def _get(line: str) -> str:
    return f"{G}{line}\r\n\r\n"


ABUSE: dict[str, list[str]] = {
    "HF-te-cl-order": [f"{P}Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n\r\n{ZERO}" for n in (4, 30)]
    + [f"{P}Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n\r\n{ZERO}" for n in (4, 30)],
    "HF-cl-dup-diff": [
        f"{P}Content-Length: {a}\r\nContent-Length: {b}\r\n\r\n" for a, b in ((62, 0), (0, 62), (62, 62))
    ],
    "HF-cl-plus": [_length("+62"), _length("-0")],
    "HF-cl-hex": [_length(v) for v in ("0x3e", "0o76", "3e")],
    "HF-cl-octal": [_length(v) for v in ("062", "0000062", "00")],
    "HF-cl-empty": [
        f"{P}{h}\r\n\r\n" for h in ("Content-Length:", "Content-Length: ", "Content-Length: \r\nContent-Length: 62")
    ],
    "HF-cl-trailing-junk": [_length(v) for v in ("62Z", "6 2", "62;a", "62\x0b", "62 ", " 62", "62\t", "62,62", "6_2")],
    "HF-cl-unicode-digit": [_length(v) for v in ("\xd9\xa6\xd9\xa2", "\xef\xbc\x96\xef\xbc\x92", "\xb2")],
    "S2.4 sixteen digits": [_length("1" * 16), _length("9" * 400)],
    "HF-te-xchunked": [_te("xchunked"), _te("blegh"), _te("")],
    "HF-te-not-final": [_te("chunked, gzip", ZERO), _te("chunked, identity", ZERO), _te("gzip, chunked", ZERO)],
    "HF-te-double": [
        _te("chunked, chunked"),
        _te("chunked\r\nTransfer-Encoding: chunked"),
        _te("chunked\r\nTransfer-Encoding: identity"),
    ],
    "HF-te-comma-lead": [_te(",chunked", ZERO), _te(",chunked\r\nContent-Length: 5", ZERO)],
    "HF-te-trailing-comma": [_te("chunked,")],
    "S2.5 blanks": [_te(" chunked"), _te("chunked "), _te("\tchunked"), _te('"chunked"')],
    "S2.5 on 1.0": [_te("chunked").replace("HTTP/1.1", "HTTP/1.0")],
    "HF-te-space-colon": [
        f"{P}{h}\r\n\r\n{CHUNKS}" for h in ("Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked")
    ],
    "HF-te-underscore": [
        f"{P}{h}\r\n\r\n{ZERO}"
        for h in ("Transfer_Encoding: chunked\r\nContent-Length: 5", "Content_Length: 5\r\nTransfer-Encoding: chunked")
    ],
    "S2.9 collisions": [
        _get(f"{n}: 1")
        for n in (
            "x_forwarded_for",
            "X_Tidegate-Debug",
            "x_api_key",
            "x-tenant_id",
            "x_consumer_id",
            "x_user_name",
            "client_cert",
        )
    ],
    "HF-te-obs-fold": [
        f"{P}Transfer-Encoding:\r\n{ws}chunked\r\nContent-Length: 5\r\n\r\n{ZERO}" for ws in (" ", "\t")
    ],
    "HF-chunk-size-overflow": [
        _chunked(f"{s}\r\n{J}\r\n{ZERO}") for s in ("FFFFFFFFFFFFFFFF1", "10000000000000000", "0" * 1000 + "3e")
    ],
    "HF-chunk-ext-lf": [_chunked(f"5;\nhello\r\n{ZERO}")],
    "HF-chunk-ext-ctrl": [_chunked(f"3e;e={c}x\r\n{J}\r\n{ZERO}") for c in "\x00\x01\x0b\x7f"],
    "HF-chunk-ext-64k": [_chunked("1;e=" + "a" * 65536 + "\r\n{\r\n")],
    "HF-chunk-spill": [_chunked(f"3c\r\n{J}\r\n{ZERO}")],
    "HF-chunk-no-crlf": [_chunked(f"3e\r\n{J}{t}{ZERO}") for t in ("", "XX")],
    "HF-chunk-lf-term": [
        _chunked(b) for b in (f"3e\n{J}\r\n{ZERO}", f"3e\r\n{J}\n{ZERO}", f"3e\r{J}\r\n{ZERO}", f"3e\r\n{J}\r\n0\r\n\n")
    ],
    "HF-chunk-invalid-desync": [_chunked("INVALID!!!\r\n")],
    "HF-trailer-smuggle": [
        _chunked(f"3e\r\n{J}\r\n0\r\n{t}\r\n\r\n")
        for t in (
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Host: evil.example",
            "Authorization: Bearer k",
            "Content-Type: text/plain",
        )
    ],
    "HF-zero-cl": [
        f"{G}{h}\r\n\r\n"
        for h in ("Content-Length : 40", "Content-Length:\r\n 40", "\x0bContent-Length: 40", "Content-Length\x00: 40")
    ],
    "HF-hdr-bare-lf": [f"{G}\r\n".replace("\r\n", "\n"), "GET /echo HTTP/1.1\r\nHost: gw\nX: 1\r\n\r\n"],
    "HF-hdr-no-colon": [_get("Content-Length 10"), _get("Foo")],
    "HF-hdr-empty-name": [_get(h) for h in (": x", ":", "\xef: x", "Fo o: x", "Foo[0]: x")],
    "HF-hdr-lead-ws": [f"GET /echo HTTP/1.1\r\n{ws}X-A: 1\r\nHost: gw\r\n\r\n" for ws in (" ", "\t")],
    "S2.3 controls": [_get(f"X: a{c}b") for c in "\x00\x01\x08\x0b\x1f\x7f\r\n"] + [_get("X: a\r")],
    "S2.8": [
        _get("Content-Type: a\r\nContent-Type: a"),
        _get("authorization: x"),
        _get("X-Api-Key: a\r\nX-Api-Key: a"),
        _get("Expect: 100-continue\r\nExpect: 100-continue"),
        _get("Max-Forwards: 1\r\nMax-Forwards: 1"),
    ],
    "S2.10 body on HEAD": [
        "HEAD / HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\n\r\nx",
        "HEAD / HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n" + ZERO,
    ],
    "HL-host-missing": [
        "GET /echo HTTP/1.1\r\nX: 1\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: \r\n\r\n",
    ],
    "HL-host-dup": [_get("Host: gw"), _get("Host: evil.example")],
    "HL-asterisk": ["GET * HTTP/1.1\r\nHost: gw\r\n\r\n"],
    "HL-path-fragment": [
        "GET /echo#/admin/keys HTTP/1.1\r\nHost: gw\r\n\r\n",
        "GET /admin/keys#/echo HTTP/1.1\r\nHost: gw\r\n\r\n",
    ],
    "S2.1 request line": [
        f"{line}\r\nHost: gw\r\n\r\n"
        for line in (
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET /\tHTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1",
            "GET / HTTP/01.1",
            "GET / HTTP/1.10",
            "GET /a b HTTP/1.1",
            "GET /\x7f HTTP/1.1",
            "GET /\xe9 HTTP/1.1",
            "GET  HTTP/1.1",
            "G(T / HTTP/1.1",
            " GET / HTTP/1.1",
            "A" * 33 + " / HTTP/1.1",
            "GET gw/ HTTP/1.1",
            "GET ftp://gw/ HTTP/1.1",
            "GET http:///x HTTP/1.1",
        )
    ],
    "not HTTP": ["\x16\x03\x01\x02\x00\x01\x00", "SSH-2.0-x\r\n", "\x00"],
}
CASES = [(name, payload) for name, payloads in ABUSE.items() for payload in payloads]


@pytest.mark.parametrize(("name", "payload"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_framing_abuse_is_refused_and_closes(name: str, payload: str) -> None:
    fault = refusal(payload.encode("latin-1"))
    assert (fault.status, fault.code, fault.reason) == (400, "bad_request", "bad_framing")
    assert fault.close is True
    assert fault.side == CLIENT


@pytest.mark.parametrize(("name", "payload"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_framing_abuse_is_refused_byte_by_byte_too(name: str, payload: str) -> None:
    """Refused when the bad byte is read, never waiting for more than was sent (RELIABILITY P1)."""
    raw = payload.encode("latin-1")
    limits = HeadLimits()
    with pytest.raises(Fault) as caught:
        feed_bytewise(raw, limits)
        raise AssertionError("accepted")
    assert caught.value.status in (400, 505)


def feed_bytewise(raw: bytes, limits: HeadLimits) -> RequestHead | None:
    checked = 0
    for size in range(1, len(raw) + 1):
        end = find_head_end(raw[:size], size - 1)
        if end >= 0:
            head = parse_request(raw[:end], limits, METHODS)
            if head.body_length == CHUNKED:
                decoder = ChunkedDecoder()
                for i in range(end, len(raw)):
                    decoder.feed(raw[i : i + 1])
            return head
        checked = scan_partial(raw[:size], limits, METHODS, checked)
    return None


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("GET / HTTP/2.0", 505, "bad_version"),
        ("GET / HTTP/1.2", 505, "bad_version"),
        ("GET / HTTP/0.9", 505, "bad_version"),
        ("PRI * HTTP/2.0", 505, "bad_version"),
        ("BREW / HTTP/1.1", 501, "not_implemented"),
        ("get / HTTP/1.1", 501, "not_implemented"),
        ("CONNECT example.com:443 HTTP/1.1", 405, "method_not_allowed"),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", 405, "method_not_allowed"),
        ("TRACE / HTTP/1.1", 405, "method_not_allowed"),
        ("GET /" + "a" * 8192 + " HTTP/1.1", 414, "uri_too_long"),
        ("GET /" + "a" * 1_048_576 + " HTTP/1.1", 414, "uri_too_long"),
    ],
)
def test_other_refusals_of_the_request_line(line: str, status: int, code: str) -> None:
    """S2.1, S2.2, S3.1, HL-connect, HL-uri-long"""
    fault = refusal(f"{line}\r\nHost: gw\r\n\r\n".encode())
    assert (fault.status, fault.code, fault.close) == (status, code, True)


def test_a_405_names_what_is_allowed() -> None:
    """S2.2"""
    fault = refusal(b"TRACE / HTTP/1.1\r\nHost: gw\r\n\r\n")
    assert fault.fields == [("allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY")]


@pytest.mark.parametrize("value", ["y 100-continue", "200-ok", "100-continue, x", ""])
def test_any_other_expectation_fails(value: str) -> None:
    """S2.13, HF-expect-obfs"""
    fault = refusal(f"{P}Expect: {value}\r\nContent-Length: 62\r\n\r\n{J}".encode())
    assert (fault.status, fault.close) == (417, True)


def test_sizes_have_exact_borders() -> None:
    """S3.1, S3.2, HL-uri-long, HL-cookie-bomb"""
    line = "GET /{} HTTP/1.1"
    room = 8192 - len(line.format(""))
    assert parse(line.format("a" * room) + "\r\nHost: gw\r\n\r\n").method == "GET"
    with pytest.raises(Fault, match="uri_too_long"):
        parse(line.format("a" * (room + 1)) + "\r\nHost: gw\r\n\r\n")
    assert len(parse("GET / HTTP/1.1\r\nHost: gw\r\n" + "X: 1\r\n" * 99 + "\r\n").fields) == 100
    with pytest.raises(Fault, match="headers_too_large"):
        parse("GET / HTTP/1.1\r\nHost: gw\r\n" + "X: 1\r\n" * 100 + "\r\n")
    assert parse(G + "X: " + "a" * (16384 - 3) + "\r\n\r\n").index["x"] == "a" * 16381
    with pytest.raises(Fault, match="headers_too_large"):
        parse(G + "X: " + "a" * (16384 - 2) + "\r\n\r\n")
    with pytest.raises(Fault, match="headers_too_large"):
        parse(G + ("X: " + "a" * 16000 + "\r\n") * 3 + "\r\n")
    assert parse(G + "Cookie: " + 'a="\\101\\102\\103";' * 900 + "\r\n\r\n").index["cookie"].count("a=") == 900


@pytest.mark.parametrize(
    "raw",
    [
        G.encode() + b"X-Big: " + b"a" * 65536,
        G.encode() + b"a" * 65536,
        G.encode() + b"".join(b"X-%d: 1\r\n" % i for i in range(100_000)),
        G.encode() + b"Cookie: " + b'a="\\101\\102\\103";' * 4000 + b"\r\n\r\n",
        G.encode() + b"".join(b"X-%d: 1\r\n" % i for i in range(1000)) + b"\r\n",
    ],
    ids=["long value", "long name", "100,000 fields", "cookie bomb", "1,000 fields"],
)
def test_too_much_is_431_however_it_comes(raw: bytes) -> None:
    """S3.2, HL-hdr-long, HL-hdr-many, HL-cookie-bomb"""
    assert refusal(raw).status == 431
    limits = HeadLimits()
    with pytest.raises(Fault, match="headers_too_large"):
        checked = 0
        for size in range(1000, 60_000, 1000):
            end = find_head_end(raw[:size], size - 1000)
            if end >= 0:
                parse_request(raw[:end], limits, METHODS)
            checked = scan_partial(raw[:size], limits, METHODS, checked)


# -- an unfinished answer ---------------------------------------------------------------------------------------------


def test_an_unfinished_answer_that_may_still_become_one_is_waited_for() -> None:
    whole = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n"
    for size in range(1, len(whole)):
        scan_partial_answer(whole[:size], HeadLimits())


@pytest.mark.parametrize(
    "bytes_",
    [b"\x00\x9f\xee", b"H1", b"SSH-2.0-x", b"HTTP/2", b"HTTP/1.1" + b" " * 9000, b"HTTP/1.1 2000 Odd\r\n",
     b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n", b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n", b"HTTP/1.1 200 OK\r\n folded\r\n"],
)  # fmt: skip
def test_an_answer_is_refused_when_its_bad_byte_is_read_and_not_at_a_timeout(bytes_: bytes) -> None:
    """S2.15, RELIABILITY P1 and P9, UP-garbage"""
    with pytest.raises(Fault) as caught:
        scan_partial_answer(bytes_, HeadLimits())
    assert (caught.value.code, caught.value.reason) == ("bad_upstream", "protocol")


# -- an unfinished head -----------------------------------------------------------------------------------------------

GOOD = [
    (P + "Content-Length: 62\r\n\r\n").encode(),
    (G + "X-A:  b \r\nx_y:\r\n\r\n").encode(),
    b"\r\n" + WS.format(version=13).encode(),
    b"GET / HTTP/1.0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: gw\r\n\r\n",
]


@pytest.mark.parametrize("raw", GOOD)
def test_no_beginning_of_a_good_head_is_refused(raw: bytes) -> None:
    whole = parse(raw)
    bytewise = feed_bytewise(raw, HeadLimits())
    assert bytewise is not None
    assert (bytewise.method, bytewise.target, bytewise.fields) == (whole.method, whole.target, whole.fields)
    for size in range(len(raw)):
        scan_partial(bytearray(raw[:size]), HeadLimits(), METHODS)


def test_bytes_behind_the_head_are_not_its_business() -> None:
    raw = GOOD[0] + b"tail\r\n\r\n"
    assert find_head_end(raw) == len(GOOD[0])
    assert find_head_end(raw[: len(GOOD[0]) - 1]) == -1


@pytest.mark.parametrize(
    "raw",
    [b"G\n", b"G@T ", b"GET / FTP", b"GET /\r\n", b"GET / HTTP/1.1\r\nHost gw", b"GET / HTTP/1.1\r\nHost: a\x00",
     b"GET / HTTP/1.1\r\nHost: a\rb", b"GET / HTTP/1.1\n", b"\n", b"\r\r", b"GET / HTTP/1.1\r\n X", b"A" * 33],
)  # fmt: skip
def test_a_bad_byte_is_refused_when_it_comes(raw: bytes) -> None:
    """RELIABILITY P1"""
    with pytest.raises(Fault, match="bad_request"):
        scan_partial(raw, HeadLimits(), METHODS)


def test_scanning_goes_on_where_it_stopped() -> None:
    raw = G.encode() + b"X-A: 1\r\nX-B: un"
    checked = scan_partial(raw, HeadLimits(), METHODS)
    assert raw[checked:] == b"X-B: un"
    assert scan_partial(raw + b"finished", HeadLimits(), METHODS, checked) == checked
    with pytest.raises(Fault):
        scan_partial(raw + b"\x00", HeadLimits(), METHODS, checked)


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "method", "expected"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "GET", (200, "OK", 2, True)),
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "GET", (200, "", 0, True)),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "GET", (200, "", 0, True)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", (200, "OK", CHUNKED, True)),
        ("HTTP/1.1 200 OK\r\n\r\n", "GET", (200, "OK", UNTIL_CLOSE, False)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", "GET", (200, "OK", 2, False)),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n", "GET", (200, "OK", 2, True)),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n", "GET", (200, "OK", 2, False)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 244\r\n\r\n", "HEAD", (200, "OK", NO_BODY, True)),
        ("HTTP/1.1 200 OK\r\n\r\n", "HEAD", (200, "OK", NO_BODY, True)),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 244\r\n\r\n", "GET", (304, "Not Modified", NO_BODY, True)),
        ("HTTP/1.1 204 No Content\r\n\r\n", "GET", (204, "No Content", NO_BODY, True)),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "GET", (204, "No Content", NO_BODY, True)),
        ("HTTP/1.1 100 Continue\r\n\r\n", "POST", (100, "Continue", NO_BODY, True)),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "GET",
         (101, "Switching Protocols", NO_BODY, True)),
        ("HTTP/1.1 599 \xe9\r\nContent-Length: 1\r\n\r\n", "GET", (599, "\xe9", 1, True)),
    ],
)  # fmt: skip
def test_an_answer_is_framed_by_its_head_and_the_request(head: str, method: str, expected: tuple[object, ...]) -> None:
    """S2.15, S2.16"""
    limits = HeadLimits()
    for _ in range(3):
        found = parse_response(head.encode("latin-1"), method, limits)
        assert (found.status, found.reason, found.body_length, found.keep_alive) == expected


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/1.1 600 X\r\n\r\n",
        "HTTP/1.1 20 X\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200 O\x00K\r\n\r\n",
        "HTTP/1.1 200 OK\nX: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\n" + "X: 1\r\n" * 101 + "\r\n",
        "HTTP/1.1 200 OK\r\nX: " + "a" * 33000 + "\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: " + "a" * 17000 + "\r\n\r\n",
        "HTTP/1.1 200 " + "a" * 9000 + "\r\n\r\n",
        "HELLO\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_the_rules_is_bad_upstream(head: str) -> None:
    """S2.15, HF-upstream-resp-smuggle"""
    with pytest.raises(Fault) as caught:
        parse_response(head.encode("latin-1"), "GET", HeadLimits())
    assert (caught.value.code, caught.value.reason, caught.value.side) == ("bad_upstream", "protocol", UPSTREAM)


def test_editing_one_answer_leaves_the_others_of_its_block_alone() -> None:
    limits = HeadLimits()
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\n\r\n"
    heads = [parse_response(raw, "GET", limits) for _ in range(4)]
    for head in heads:
        assert head.fields == [("content-length", "2"), ("x-a", "1")]
        head.remove("x-a")
        head.set("x-b", "2")


def test_the_length_of_an_entity_that_is_not_sent_is_known() -> None:
    head = parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 244\r\n\r\n", "HEAD", HeadLimits())
    assert announced_length(head.fields) == 244
    assert announced_length([("x", "1")]) == -1


# -- against another parser -------------------------------------------------------------------------------------------


class Heard:
    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def oracle(raw: bytes) -> Heard:
    heard = Heard()
    httptools.HttpRequestParser(heard).feed_data(raw)
    return heard


TOKENS = st.text(st.sampled_from("abcXYZ019-!#$%&'*+.^`|~"), min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF).filter(lambda c: not "\x7f" <= c <= "\x9f"),
                 max_size=30).map(lambda v: v.strip(" "))  # fmt: skip
TARGETS = st.text(st.sampled_from("abc019/-._~%?=&+"), max_size=30).map(lambda t: "/" + t)


@given(st.sampled_from(sorted(METHODS - {"QUERY"})), TARGETS, st.lists(st.tuples(TOKENS, VALUES), max_size=12))
def test_what_passes_reads_the_same_in_httptools(method: str, target: str, fields: list[tuple[str, str]]) -> None:
    lines = "".join(f"{n}: {v}\r\n" for n, v in fields)
    raw = f"{method} {target} HTTP/1.1\r\nHost: gw\r\n{lines}\r\n".encode("latin-1")
    try:
        head = parse(raw)
    except Fault as fault:
        # The only reason left for these inputs: a singleton or framing name by chance.
        assert fault.status in (400, 417)
        return
    heard = oracle(raw)
    assert heard.target.decode("latin-1") == head.target
    assert [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in heard.fields] == head.fields


@given(st.sampled_from(GOOD[:2]), st.integers(0, 200), st.integers(0, 255))
def test_one_wrong_byte_never_makes_us_laxer_than_httptools(raw: bytes, place: int, byte: int) -> None:
    broken = bytearray(raw)
    broken[place % len(raw)] = byte
    end = find_head_end(broken)
    if end < 0:
        return
    try:
        head = parse(bytes(broken[:end]))
    except Fault:
        return
    if head.method == "QUERY":
        return
    heard = oracle(bytes(broken[:end]))
    assert [(n.decode("latin-1").lower(), v.decode("latin-1").strip(" \t")) for n, v in heard.fields] == head.fields


@given(st.binary(max_size=200))
def test_arbitrary_bytes_end_in_a_head_a_wait_or_a_client_fault(raw: bytes) -> None:
    end = find_head_end(raw)
    try:
        if end < 0:
            assert scan_partial(raw, HeadLimits(), METHODS) >= 0
        else:
            assert parse(raw[:end]).method in METHODS
    except Fault as fault:
        assert fault.close and fault.side == CLIENT
