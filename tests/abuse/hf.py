"""HF: HTTP/1.1 framing. A canary stands behind every payload; mutants of each payload obey the same rule."""

from __future__ import annotations

from abuse.runner import Run, case
from abuse.talk import Line

CHUNKED = "<P>Transfer-Encoding: chunked\r\n\r\n"


def same(run: Run, head: str, values: tuple[str, ...], tail: str) -> None:
    """Every value in the place between *head* and *tail* is refused."""
    for value in values:
        run.refused(head + value + tail, name=repr(value)[:60])


@case("HF-te-cl-order", "6e1fb80df3d4")
def te_cl_order(run: Run) -> None:
    same(run, "<P>Transfer-Encoding: chunked\r\nContent-Length: ", ("4", "30"), "\r\n\r\n0\r\n\r\n<CANARY>")


@case("HF-cl-dup-diff", "9211dfc8c5a8")
def cl_dup_diff(run: Run) -> None:
    for a, b in ((62, 0), (0, 62)):
        run.refused(f"<P>Content-Length: {a}\r\nContent-Length: {b}\r\n\r\n<J><CANARY>", name=f"{a},{b}")


@case("HF-cl-plus", "499c509cb0a5")
def cl_plus(run: Run) -> None:
    run.refused("<P>Content-Length: +62\r\n\r\n<J><CANARY>")


@case("HF-cl-hex", "f2b29c5ba128")
def cl_hex(run: Run) -> None:
    same(run, "<P>Content-Length: ", ("0x3e", "0o76", "3e"), "\r\n\r\n<J><CANARY>")


@case("HF-cl-octal", "43f88440852d")
def cl_octal(run: Run) -> None:
    same(run, "<P>Content-Length: ", ("062", "0000062", "00"), "\r\n\r\n<J><CANARY>")


@case("HF-cl-empty", "ff6fd518bc14")
def cl_empty(run: Run) -> None:
    values = ("Content-Length:", "Content-Length: ", "Content-Length: \r\nContent-Length: 62")
    same(run, "<P>", values, "\r\n\r\n<J><CANARY>")


@case("HF-cl-trailing-junk", "ea2e63481e18")
def cl_trailing_junk(run: Run) -> None:
    same(run, "<P>Content-Length: ", ("62Z", "6 2", "62;a", "62\x0b"), "\r\n\r\n<J><CANARY>")


@case("HF-cl-unicode-digit", "ace7ec2f4e56")
def cl_unicode_digit(run: Run) -> None:
    values = ("\xd9\xa6\xd9\xa2", "\xef\xbc\x96\xef\xbc\x92", "\xb2")
    same(run, "<P>Content-Length: ", values, "\r\n\r\n<J><CANARY>")


@case("HF-te-xchunked", "779244394aa5")
def te_xchunked(run: Run) -> None:
    tail = "\r\n\r\n3e\r\n<J>\r\n0\r\n\r\n<CANARY>"
    same(run, "<P>Transfer-Encoding: ", ("xchunked", "blegh"), tail)


@case("HF-te-not-final", "487cb4d7bcc5")
def te_not_final(run: Run) -> None:
    same(run, "<P>Transfer-Encoding: ", ("chunked, gzip", "chunked, identity"), "\r\n\r\n0\r\n\r\n<CANARY>")


@case("HF-te-double", "3227f7cce561")
def te_double(run: Run) -> None:
    name = "Transfer-Encoding: "
    values = (f"{name}chunked, chunked", f"{name}chunked\r\n{name}chunked", f"{name}chunked\r\n{name}identity")
    same(run, "<P>", values, "\r\n\r\n3e\r\n<J>\r\n0\r\n\r\n<CANARY>")


@case("HF-te-comma-lead", "def4f2615cc4")
def te_comma_lead(run: Run) -> None:
    values = ("Transfer-Encoding: ,chunked", "Transfer-Encoding: ,chunked\r\nContent-Length: 5")
    same(run, "<P>", values, "\r\n\r\n0\r\n\r\n<CANARY>")


@case("HF-te-trailing-comma", "9219e68c8ca0")
def te_trailing_comma(run: Run) -> None:
    run.refused("<P>Transfer-Encoding: chunked,\r\n\r\n3e\r\n<J>\r\n0\r\n\r\n<CANARY>")


@case("HF-te-space-colon", "ed2ffda1436b")
def te_space_colon(run: Run) -> None:
    values = ("Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked")
    same(run, "<P>", values, "\r\n\r\n3e\r\n<J>\r\n0\r\n\r\n<CANARY>")


@case("HF-te-underscore", "db19768399fe")
def te_underscore(run: Run) -> None:
    values = ("Transfer_Encoding: chunked\r\nContent-Length: 5", "Content_Length: 5\r\nTransfer-Encoding: chunked")
    same(run, "<P>", values, "\r\n\r\n0\r\n\r\n<CANARY>")


@case("HF-te-case", "98e8a59347da")
def te_case(run: Run) -> None:
    with run.variant(calls=2):
        c = run.talk("<P>TRANSFER-ENCODING: CHUNKED\r\n\r\n3E\r\n<J>\r\n0\r\n\r\n<CANARY>", expect=2)
        served_in_order(run, c, "POST", 62)
        assert c.seconds < 1.0, c


def served_in_order(run: Run, c, method: str, size: int) -> None:  # type: ignore[no-untyped-def]
    """Two answers: the first to a request of that method and body size, the second to the canary."""
    assert [a.status for a in c.answers] == [200, 200], c
    first, second = (a.json() for a in c.answers)
    assert (first["method"], first["size"]) == (method, size), first
    assert run.canary in second["target"], second
    seen = [call["target"] for call in run.calls()]
    assert len(seen) == 2 and run.canary in seen[1], seen


@case("HF-te-obs-fold", "bf943ba88968")
def te_obs_fold(run: Run) -> None:
    same(run, "<P>Transfer-Encoding:\r\n", (" ", "\t"), "chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n<CANARY>")


@case("HF-te-on-get", "b8924e9c9752")
def te_on_get(run: Run) -> None:
    with run.variant(calls=2):
        c = run.talk("<G>Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n<CANARY>", expect=2)
        served_in_order(run, c, "GET", 5)


@case("HF-chunk-size-overflow", "cabdd9d482d4")
def chunk_size_overflow(run: Run) -> None:
    for size in ("FFFFFFFFFFFFFFFF1", "10000000000000000", "0" * 1000 + "3e"):
        run.refused(f"{CHUNKED}{size}\r\n<J>\r\n0\r\n\r\n<CANARY>", name=size[:20], rss=1 << 20)


@case("HF-chunk-ext-lf", "9241a795c38d")
def chunk_ext_lf(run: Run) -> None:
    run.refused(CHUNKED + "5;\nhello\r\n0\r\n\r\n<CANARY>")


@case("HF-chunk-ext-ctrl", "6884cec098fb")
def chunk_ext_ctrl(run: Run) -> None:
    same(run, CHUNKED + "3e;e=", ("\x00", "\x01", "\x0b", "\x7f"), "x\r\n<J>\r\n0\r\n\r\n<CANARY>")


@case("HF-chunk-ext-64k", "e7de03af9809")
def chunk_ext_64k(run: Run) -> None:
    """What the kernels' buffers hold on the way was sent but not read; the answer is out long before 4 MiB are in."""
    body = "".join("1;e=" + "a" * 65536 + "\r\n" + byte + "\r\n" for byte in run.raw("<J>").decode())
    run.refused(CHUNKED + body + "0\r\n\r\n<CANARY>", name="62 chunks", most_read=65536)


@case("HF-chunk-spill", "4fa38a060152")
def chunk_spill(run: Run) -> None:
    run.refused(CHUNKED + "3c\r\n<J>\r\n0\r\n\r\n<CANARY>")


@case("HF-chunk-no-crlf", "33482e0043b9")
def chunk_no_crlf(run: Run) -> None:
    same(run, CHUNKED + "3e\r\n<J>", ("", "XX"), "0\r\n\r\n<CANARY>")


@case("HF-chunk-lf-term", "cdbf075900c1")
def chunk_lf_term(run: Run) -> None:
    values = (
        "3e\n<J>\r\n0\r\n\r\n",
        "3e\r\n<J>\n0\r\n\r\n",
        "3e\r<J>\r\n0\r\n\r\n",
        "3e\r\n<J>\r\n0\r\n\n",
    )
    same(run, CHUNKED, values, "<CANARY>")


@case("HF-chunk-invalid-desync", "bdc2f4819a35")
def chunk_invalid_desync(run: Run) -> None:
    run.refused(CHUNKED + "INVALID!!!\r\n<CANARY>")


@case("HF-trailer-smuggle", "b1a404c59790")
def trailer_smuggle(run: Run) -> None:
    """S2.7 owns this: a trailer that names framing, host, identity or content is *dropped*, not refused as the line
    says (see SEMANTICS 28). What the line protects is checked for all six: one call as tenant A, the canary once and
    after it, the trailer nowhere."""
    for trailer in (
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Host: evil.example",
        "Authorization: Bearer <KEY_B>",
        "Content-Type: text/plain",
        "X-T: 1",
    ):
        with run.variant(trailer.partition(":")[0]):
            c = run.talk(f"{CHUNKED}3e\r\n<J>\r\n0\r\n{trailer}\r\n\r\n<CANARY>", expect=2)
            calls = run.calls()
            if [a.status for a in c.answers] == [400]:
                assert not calls, calls
                assert not trailer.startswith("X-T")
                continue
            served_in_order(run, c, "POST", 62)
            fields = calls[0]["fields"]
            assert ["x-tenant-id", "tenant-a"] in fields, fields
            assert not [f for f in fields if f[0] == "x-t" or "evil" in f[1] or f[1] == "text/plain"], fields
            assert len([f for f in fields if f[0] in ("content-length", "transfer-encoding")]) == 1, fields


@case("HF-cl0", "ea8fc7f69f0c")
def cl0(run: Run) -> None:
    """``/ui/app.css`` is ``/hello`` here: a route of the gateway's own that takes no POST. The request limit that is
    used up is that of ``/limited``."""
    run.request(target="/limited")
    run.request(target="/limited")
    key = "Authorization: Bearer <KEY_A>\r\n"
    for path, auth in (("/hello", ""), ("/nowhere", ""), ("/echo", ""), ("/limited", key)):
        with run.variant(path + auth[:5], calls=0):
            c = run.talk(
                f"POST {path} HTTP/1.1\r\nHost: gw\r\n{auth}Content-Type: application/json\r\n"
                "Content-Length: <len:SMUG>\r\n\r\n<SMUG>",
                timeout=1.5,
            )
            assert len(c.answers) == 1 and 400 <= c.answers[0].status < 500, c


@case("HF-zero-cl", "d6ddf7927e8e")
def zero_cl(run: Run) -> None:
    values = (
        "Content-Length : <len:SMUG>",
        "Content-Length:\r\n <len:SMUG>",
        "\x0bContent-Length: <len:SMUG>",
        "Content-Length\x00: <len:SMUG>",
    )
    same(run, "<G>", values, "\r\n\r\n<SMUG>")


@case("HF-expect-100", "c1fbc2b0185e")
def expect_100(run: Run) -> None:
    with run.variant(calls=2):
        c = run.talk("<P>Expect: 100-continue\r\nContent-Length: 62\r\n\r\n<J><CANARY>", expect=2)
        assert len(c.interim) <= 1 and all(a.status == 100 for a in c.interim), c
        served_in_order(run, c, "POST", 62)


@case("HF-expect-obfs", "f89312eacfd5")
def expect_obfs(run: Run) -> None:
    for value in ("y 100-continue", "200-ok", "100-continue, x"):
        run.refused(f"<P>Expect: {value}\r\nContent-Length: 62\r\n\r\n<J><CANARY>", 417, name=value)


@case("HF-upgrade-premature", "9c792206c514")
def upgrade_premature(run: Run) -> None:
    with run.variant(calls=1):
        run.mock.ask("watch", words=["smuggled=1"])
        c = run.talk("<G>Connection: Upgrade\r\nUpgrade: foo\r\n\r\n<SMUG>", timeout=1.5)
        assert not [a for a in c.interim if a.status == 101], c
        assert [a.status for a in c.answers] in ([200], [200, 401]), c
        assert run.mock.state()["seen"] == []


@case("HF-connection-nominated", "be1feb971672")
def connection_nominated(run: Run) -> None:
    names = ("Content-Length", "Transfer-Encoding", "Host", "Authorization", "X-Tenant-Id", "x-api-key")
    same(run, "<P>Connection: ", names, "\r\nContent-Length: 62\r\n\r\n<J><CANARY>")


@case("HF-hdr-bare-lf", "731bd0874848")
def hdr_bare_lf(run: Run) -> None:
    run.refused("GET /echo HTTP/1.1\nHost: gw\nAuthorization: Bearer <KEY_A>\n\n<CANARY>", name="all")
    run.refused("GET /echo HTTP/1.1\r\nHost: gw\nAuthorization: Bearer <KEY_A>\r\n\r\n<CANARY>", name="one")


@case("HF-hdr-no-colon", "b174af579b7f")
def hdr_no_colon(run: Run) -> None:
    same(run, "<G>", ("Content-Length 10", "Foo"), "\r\n\r\n0123456789<CANARY>")


@case("HF-hdr-empty-name", "e2fb583eb826")
def hdr_empty_name(run: Run) -> None:
    same(run, "<G>", (": x", ":", "\xef: x", "Fo o: x", "Foo[0]: x"), "\r\n\r\n<CANARY>")


@case("HF-hdr-lead-ws", "461302246b58")
def hdr_lead_ws(run: Run) -> None:
    for blank in (" ", "\t"):
        run.refused(f"GET /echo HTTP/1.1\r\n{blank}X-A: 1\r\nHost: gw\r\nAuthorization: Bearer <KEY_A>\r\n\r\n<CANARY>")


@case("HF-upstream-resp-smuggle", "8b82420c6a1e")
def upstream_resp_smuggle(run: Run) -> None:
    ok = b"HTTP/1.1 200 OK\r\n"
    answers = (
        (ok + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1, (502,)),
        (ok + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokX", 1, (502,)),
        (ok + b"Content-Length: 2\r\n\r\nok" + ok + b"Content-Length: 4\r\n\r\nevil", 1, (200, 502)),
        (b"HTTP/1.1 100 Continue\r\n\r\n", 1000, (502,)),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", 1, (204, 502)),
    )
    for number, (data, times, wanted) in enumerate(answers, 1):
        with run.variant(f"answer {number}"), Line(run.port) as line:
            run.mock.raw("a", data, times=times)
            for _ in range(2):
                line.send(run.raw("<G>\r\n"))
                answer = line.read()
                assert answer.status in wanted, answer
                assert b"evil" not in answer.body, answer
                assert answer.body in (b"", b"ok") or answer.code == "bad_upstream", answer
            run.mock.behave("a")
            calls = run.calls()
            assert len({call["connection"] for call in calls}) == len(calls) >= 2, calls
            assert all(call["nth"] == 1 for call in calls[1:]), calls
            assert b"evil" not in line.data
