"""HL: malformed input and limits of HTTP/1.1."""

from __future__ import annotations

import time

from abuse.gateway import until
from abuse.runner import J, Run, case
from abuse.talk import Line, request

AUTH = "Authorization: Bearer <KEY_A>\r\n"


@case("HL-host-missing", "9589953d326f")
def host_missing(run: Run) -> None:
    for host in ("", "Host:\r\n", "Host: \r\n"):
        run.refused(f"GET /echo HTTP/1.1\r\n{host}{AUTH}\r\n<CANARY>", name=repr(host))


@case("HL-host-dup", "099b84215d39")
def host_dup(run: Run) -> None:
    for second in ("gw", "evil.example"):
        run.refused(f"GET /echo HTTP/1.1\r\nHost: gw\r\nHost: {second}\r\n{AUTH}\r\n<CANARY>", name=second)


@case("HL-host-comma", "1cf97aff6aff")
def host_comma(run: Run) -> None:
    for value in ("gw, evil.example", "gw,gw"):
        run.refused(f"GET /echo HTTP/1.1\r\nHost: {value}\r\n{AUTH}\r\n<CANARY>", name=value)


@case("HL-abs-uri-mismatch", "b3382aab5302")
def abs_uri_mismatch(run: Run) -> None:
    """That nothing looks up or connects to the other host follows from 0 upstream calls: a worker has no resolver."""
    run.refused(f"GET http://evil.example/echo HTTP/1.1\r\nHost: gw\r\n{AUTH}\r\n")


@case("HL-connect", "efaea21fbe18")
def connect(run: Run) -> None:
    for target in ("example.com:443", "127.0.0.1:22", "gw:80"):
        run.refused(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{AUTH}\r\n<SMUG>", 405, name=target)


@case("HL-asterisk", "2b151b63eaeb")
def asterisk(run: Run) -> None:
    run.refused(f"GET * HTTP/1.1\r\nHost: gw\r\n{AUTH}\r\n<CANARY>")


@case("HL-uri-long", "b7410b4b786a")
def uri_long(run: Run) -> None:
    for n in (16384, 1048576):
        run.refused(f"GET /echo?{'a' * n} HTTP/1.1\r\nHost: gw\r\n{AUTH}\r\n", 414, name=str(n), most_read=65536)
    with run.variant("8000", calls=1):
        answer = run.request(target="/echo?" + "a" * 8000)
        assert answer.status == 200, answer


@case("HL-hdr-long", "479ac0ff2c22")
def hdr_long(run: Run) -> None:
    run.refused(f"<G>X-Big: {'a' * 65536}\r\n\r\n<CANARY>", 431, name="value")
    run.refused(f"<G>{'a' * 65536}: 1\r\n\r\n<CANARY>", 431, 400, name="name")


@case("HL-hdr-many", "9d3eedb65ba3")
def hdr_many(run: Run) -> None:
    for n in (1000, 100_000):
        fields = "".join(f"X-{i}: 1\r\n" for i in range(n))
        run.refused(f"<G>{fields}\r\n<CANARY>", 431, name=str(n), rss=1 << 20, most_read=65536)


@case("HL-cookie-bomb", "960eaf4dd777")
def cookie_bomb(run: Run) -> None:
    """4,000 cookies of 17 bytes are over the 32 KiB of a head, 900 are one field of 15,300 bytes: both sizes as in the
    line. CPU is that of the whole exchange."""
    for n, wanted in ((900, 200), (4000, 431)):
        with run.variant(str(n), calls=1 if wanted == 200 else 0):
            before = run.gateway.cpu()
            begun = time.monotonic()
            c = run.talk("<G>Cookie: " + 'a="\\101\\102\\103";' * n + "\r\n\r\n", expect=1)
            assert [a.status for a in c.answers] == [wanted], c
            idle = 0.05 * (time.monotonic() - begun)
            spent = run.gateway.cpu() - before
            assert spent < 0.005 + idle, f"{spent * 1e3:.1f} ms of CPU"


@case("HL-path-fragment", "fe8982421331")
def path_fragment(run: Run) -> None:
    for path in ("/echo#/admin/keys", "/admin/keys#/echo"):
        run.refused(f"GET {path} HTTP/1.1\r\nHost: gw\r\n{AUTH}\r\n", name=path)


@case("HL-path-case-unicode", "ce8bb291a294")
def path_case_unicode(run: Run) -> None:
    """S4.9 refuses nothing here: escapes of valid UTF-8 stay as they are, and match no route."""
    for path in ("/ECHO", "/Echo", "/%EF%BD%85cho", "/e%CC%81cho", "/admin/%E2%84%AAeys"):
        with run.variant(path, calls=0):
            answer = run.request(target=path)
            assert answer.status == 404 and answer.code == "route_not_found", answer
            root = [("Authorization", f"Bearer {run.gateway.token}")]
            answer = request(run.gateway.admin, target=path, fields=root)
            assert answer.status == 404, answer
    with run.variant("/api/v1/%C5%9Ftatus on the admin listener"):
        answer = request(run.gateway.admin, target="/api/v1/%C5%9Ftatus", fields=root)
        assert answer.status == 404, answer


@case("HL-method-override", "b2dcb475bdde")
def method_override(run: Run) -> None:
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        with run.variant(name, calls=1):
            answer = run.request(fields=[*run.key, (name, "DELETE")])
            assert answer.status == 200 and answer.json()["method"] == "GET", answer
    with run.variant("query", calls=1):
        answer = run.request(target="/echo?_method=DELETE")
        assert answer.status == 200 and answer.json()["method"] == "GET", answer


@case("HL-half-request", "bbce51f7ba7e")
def half_request(run: Run) -> None:
    """Every cut position, with FIN and with RST; descriptors are counted after each series (I7)."""
    whole = run.raw("<G>\r\n")
    with run.variant("fin", calls=0):
        for k in range(1, len(whole)):
            c = run.talk(whole[:k], fin=True, timeout=1.0)
            assert c.ended and [a.status for a in c.answers] in ([], [400]), f"{k}: {c}"
    with run.variant("rst", calls=0):
        for k in range(1, len(whole)):
            line = Line(run.port)
            line.send(whole[:k])
            line.reset()
        until(lambda: run.gateway.metric("connections", state="open") <= 1, 3, "connections are closed")


@case("HL-fragmented", "ab2b8b3b72cc")
def fragmented(run: Run) -> None:
    with run.variant(calls=1), Line(run.port) as line:
        for byte in run.raw("<P>Content-Length: 62\r\n\r\n<J>"):
            line.send(bytes([byte]))
            time.sleep(0.001)
        answer = line.read()
        assert answer.status == 200 and answer.json()["body"] == J.decode(), answer
