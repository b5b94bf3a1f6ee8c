"""UP: upstream faults. Lines about models run on ``/echo`` and ``/echo-ab``; what only a dialect has is not shipped."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import trustme

from abuse import money
from abuse.gateway import Gateway, until
from abuse.runner import FULL, Run, case
from abuse.talk import Line, Load


def pair(run: Run, *targets: int, name: str = "pair", **more: Any) -> dict[str, Any]:
    """An upstream over these ports, with breaker and ejections as they are by default."""
    return {"name": name, "targets": [{"url": f"http://127.0.0.1:{port}"} for port in targets], **more}


def route(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "match": {"path": f"/{name}"}, "filters": [{"use": "api_key"}], "upstream": name, **more}


@contextlib.contextmanager
def over(run: Run, *upstreams: dict[str, Any], **more: Any) -> Iterator[Gateway]:
    """A gateway of its own with a route for each of these upstreams."""
    config = run.world.small(upstreams=list(upstreams), routes=[route(u["name"]) for u in upstreams], **more)
    with run.world.boot(config) as gateway:
        run.world.warm(gateway)
        yield gateway


def get(run: Run, path: str, extra: str = "") -> Any:
    """Bytes of the i-th GET of a load."""
    return lambda i: run.raw(f"GET {path}?i={i} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer <KEY_A>\r\n{extra}\r\n")


def each(entries: list[Any], begin: float, end: float) -> list[Any]:
    return [e for e in entries if begin <= e[0] < end]


@case("UP-blackhole", "0b7acc29a4ae")
def blackhole(run: Run) -> None:
    """N = 100 calls, 25 a second. The last 25 come after the endpoint was ejected or the breaker opened."""
    hole = run.mock.ask("blackhole")
    with over(run, pair(run, hole, run.mock.ports["b"])) as gateway, run.variant(gateway=gateway, disturbs=True):
        tally = Load(gateway.port, get(run, "/pair"), 25, 4).run()
        assert tally.share(200) == 1.0, tally
        assert {c["port"] for c in run.calls()} == {"b"}
        assert tally.quantile(1.0) < 1.5, tally
        last = sorted(tally.entries)[-25:]
        assert sorted(e[1] for e in last)[-2] < 0.05 + 0.1, tally


@case("UP-reset-after-body-sent", "a6034b53aa3b")
def reset_after_body_sent(run: Run) -> None:
    """N = 20 calls of each kind. The balancer may pick either; what counts is what follows a pick of A."""
    body = b"x" * 2000
    for name, key in (("without a key", []), ("with a key", ["Idempotency-Key"])):
        with run.variant(name):
            run.mock.behave("a", "reset")
            met = 0
            for i in range(20):
                fields = [*run.key, *((k, f"k-{i}") for k in key)]
                answer = run.request("POST", f"/echo-ab?i={i}", fields, body)
                seen = [c["port"] for c in run.calls() if c["target"] == f"/echo-ab?i={i}"]
                assert seen.count("a") <= 1 and seen.count("b") <= 1, seen
                met += "a" in seen
                if key:
                    assert answer.status == 200 and seen[-1] == "b", (answer, seen)
                elif "a" in seen:
                    assert (answer.status, seen) == (502, ["a"]), (answer, seen)
                    assert answer.code == "bad_upstream" and answer.json()["reason"] == "reset", answer
                else:
                    assert answer.status == 200
            assert met >= 3, f"A was met {met} times"
            run.mock.behave("a")


@case("UP-flap", "3f4e682f287a")
def flap(run: Run) -> None:
    """N = 60 calls a second for 5 s, A up and down in turns of 0.8 s (full: 100 a second for 60 s, turns of 2 s)."""
    rate, seconds, turn = (100, 60, 2.0) if FULL else (60, 5, 0.8)
    number = run.mock.ask("toxic", name="flap", to="a", kind="noop")
    with over(run, pair(run, number, run.mock.ports["b"])) as gateway, run.variant(gateway=gateway, disturbs=True):
        run.mock.ask("toxic", name="flap", to="a", kind="flap", settings={"up": turn, "down": turn})
        try:
            tally = Load(gateway.port, get(run, "/pair"), rate, seconds).run()
        finally:
            run.mock.ask("toxic", name="flap", to="a", kind="noop")
        assert tally.share(200) >= 0.99, tally
        calls = run.mock.ask("count", mark=run.before.mark)  # type: ignore[union-attr]
        calls = [c for c in calls if c[1].startswith("/pair")]
        assert len(calls) <= 1.1 * tally.offered + 3, f"{len(calls)} calls for {tally.offered}"


@case("UP-429-retry-after", "00ce021a4b67")
def retry_after(run: Run) -> None:
    """All values at once, each with a model and a provider A of its own. ``default`` is 1 s. A wait of more than ten
    minutes is an account that cannot pay (LLM 5.11): A rests for minutes, which is more than the clamp of the line;
    what can be seen in 8 s is that it is not called."""
    models = {f"mock-{n}": [f"a{n}", "b0"] for n in range(6)}
    with run.world.boot(money.surface(run.world, models), workers=1) as gateway:
        money.warm(gateway, run.key, "mock-0")
        ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=5.5)
        date = ahead.strftime("%a, %d %b %Y %H:%M:%S GMT")
        values = {"5": 5.0, date: 5.0, "-1": 0.0, "1000000000": 60.0, "x": 1.0, "": 1.0}
        with run.variant(gateway=gateway, disturbs=True):
            for n, value in enumerate(values):
                money.answering(run.world, f"a{n}", 429, [("retry-after", value)] if value else [])
            begun = time.monotonic()
            while time.monotonic() < begun + 8.0:
                for n in range(len(values)):
                    fields = [*run.key, ("Content-Type", "application/json")]
                    answer = run.request("POST", money.PATH, fields, money.body("hi", f"mock-{n}"), gateway.port)
                    assert answer.status == 200, answer
                time.sleep(0.2)
            for n, (value, wanted) in enumerate(values.items()):
                asked = [call["at"] for call in run.calls() if call["target"].startswith(f"/a{n}/")]
                assert asked, value
                if wanted > 8.0:
                    assert len(asked) == 1, (value, asked)
                else:
                    first = asked[1] - asked[0]
                    assert abs(first - wanted) <= 1.3, (value, first)
            for n in range(len(values)):
                money.answering(run.world, f"a{n}")


@case("UP-retry-amplify", "bb4740aeda3a")
def retry_amplify(run: Run) -> None:
    """500 is never tried again (S14.2), so 503 stands for it as well. N = 200 calls a second for 3 s (full: 1,000 for
    30 s); the breaker only counts, or it would hide the budget. Workers that take the last unit at the same moment are
    one too many each."""
    rate, seconds = (1000, 30) if FULL else (200, 3)
    for status in (503, 500):
        # A gateway each: the budget remembers 10 s.
        upstream = run.world.upstream("pair", "a", "b")
        with over(run, upstream) as gateway, run.variant(str(status), gateway=gateway, disturbs=True):
            run.mock.behave("a", "status", status=status)
            run.mock.behave("b", "status", status=status)
            mark = run.mock.ask("mark")
            tally = Load(gateway.port, get(run, "/pair"), rate, seconds, most=200).run()
            run.mock.behave("a")
            run.mock.behave("b")
            calls = [c[2] for c in run.mock.ask("count", mark=mark) if c[1].startswith("/pair")]
            first = min(calls)
            for begin in range(max(1, seconds - 9)):
                window = [c for c in calls if first + begin <= c < first + begin + 10]
                offered = min(10, seconds - begin) * rate
                bound = max(1.1 * offered, offered + 30) + 2 * (gateway.config["workers"] - 1)
                assert len(window) <= bound, f"{len(window)} calls for {offered}"
            assert set(tally.statuses()) == {status}, tally


@case("UP-gray", "559525ca0fe3")
def gray(run: Run) -> None:
    """N = 200 calls a second for 8 s (full: 60 s) over 20 loopback addresses. The latency of the rest is that of the
    healthy ones: no call meets the slow one once it is out."""
    seconds = 60 if FULL else 8
    ports = []
    for i in range(20):
        name = f"gray{i}"
        ports.append(
            run.mock.open(name, host=f"127.0.2.{i + 1}") if name not in run.mock.ports else run.mock.ports[name]
        )
        run.mock.behave(name, "echo", delay=0.2 if i == 7 else 0.01)
    upstream = pair(run, balancer={"use": "round_robin"})
    upstream["targets"] = [{"url": f"http://127.0.2.{i + 1}:{port}"} for i, port in enumerate(ports)]
    with over(run, upstream) as gateway, run.variant(gateway=gateway, disturbs=True):
        load = Load(gateway.port, get(run, "/pair"), 200, seconds, most=100).start()
        begun = time.monotonic()
        most = 0
        while load.thread.is_alive():
            views = gateway.status()["upstreams"].get("pair", {}).values()
            most = max([most, *(sum(not e["usable"] for e in view["endpoints"]) for view in views)])
            time.sleep(0.2)
        tally = load.wait()
        assert tally.share(200) == 1.0, tally
        assert most <= 2, f"{most} ejected"
        late = [c for c in run.mock.ask("count", mark=run.before.mark) if c[0] == "gray7" and c[2] > begun + 5.5]  # type: ignore[union-attr]
        assert not late, f"{len(late)} calls to the slow one after 5 s"
        rest = each(tally.entries, begun + 6, begun + seconds)
        slow = [e for e in rest if e[1] > 0.19]
        assert len(slow) <= len(rest) * 0.01, f"{len(slow)} slow of {len(rest)}"


@case("UP-garbage", "4a40a6a3b55a")
def garbage(run: Run) -> None:
    """What is no HTTP runs on ``/echo``; what is HTTP but not what was promised runs on ``/checked-answer``, whose
    answers are held against a schema."""
    noise = random.Random(3).randbytes(1024)

    def ok(body: bytes, type_: str) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            type_.encode(),
            len(body),
            body,
        )

    for name, path, data in (
        ("random bytes", "/echo", noise),
        ("status 999", "/echo", b"HTTP/1.1 999 Odd\r\nContent-Length: 4\r\n\r\nevil"),
        ("head of 1 MiB", "/echo", b"HTTP/1.1 200 OK\r\nX-Evil: " + b"evil" * (1 << 18) + b"\r\n\r\n"),
        ("HTML", "/checked-answer", ok(b"<html>evil</html>", "text/html")),
        ("a brace", "/checked-answer", ok(b"{", "application/json")),
        ("wrong shape", "/checked-answer", ok(b'["evil"]', "application/json")),
        ("an error object", "/checked-answer", ok(b'{"error":"evil"}', "application/json")),
    ):
        with run.variant(name):
            run.mock.raw("a", data)
            answer = run.request(target=path)
            assert (answer.status, answer.code) == (502, "bad_upstream"), answer
            assert b"evil" not in answer.body and noise[:8] not in answer.body, answer
            run.mock.behave("a")
            assert run.request().status == 200
            first, second = run.calls()[-2:]
            if path == "/echo":
                assert first["connection"] != second["connection"], "the connection was kept"


@case("UP-giant", "eea60afae695")
def giant(run: Run) -> None:
    """The client reads 96 MB of what has no end (full: 2 GB), then goes; the upstream is closed within 250 ms of that
    (+ 250 ms for this machine). The surface that holds answers is ``/checked-answer``: 1 MiB."""
    want = (2 << 30) if FULL else 96 << 20
    for name, more in (("announced", {"length": 10 << 30}), ("chunked", {})):
        with run.variant(f"streamed, {name}", rss=16 << 20):
            run.mock.behave("a", "stream", **more)
            with Line(run.port) as line:
                line.send(run.raw("<G>\r\n"))
                got = 0
                while got < want:
                    piece = line.socket.recv(1 << 20)
                    assert piece, "the answer ended"
                    got += len(piece)
            gone = time.monotonic()
            until(lambda: run.mock.state()["active"]["a"] == 0, 3, "the upstream is let go")
            ended = run.calls()[0]["ended"]
            assert ended < gone + 0.25 + 0.25, f"closed {ended - gone:.3f} s after"
            run.mock.behave("a")
    for name, more in (("announced", {"length": 10 << 30}), ("chunked", {})):
        with run.variant(f"held, {name}", rss=40 << 20):
            run.mock.behave("a", "stream", type="application/json", **more)
            answer = run.request(target="/checked-answer")
            assert answer.status == 502 and answer.code in ("upstream_too_large", "bad_upstream"), answer
            until(lambda: run.mock.state()["active"]["a"] == 0, 3, "the upstream is let go")
            run.mock.behave("a")


@case("UP-keepalive-stale", "30283780fd7d")
def keepalive_stale(run: Run) -> None:
    """N = 60 of each kind (full: 1,000). Every second request finds its pooled connection closed at the moment it is
    written, by RST and by FIN."""
    n = 1000 if FULL else 60
    for how in ("reset", "fin"):
        for name, method, key in (("GET", "GET", False), ("POST with a key", "POST", True), ("POST", "POST", False)):
            with run.variant(f"{how}: {name}"), Line(run.port) as line:
                run.mock.ask("forget")
                run.before.mark = 0  # type: ignore[union-attr]
                run.mock.behave("a", "stale", how=how)
                statuses = []
                for i in range(n):
                    extra = f"Idempotency-Key: k{i}\r\n" if key else ""
                    body = "Content-Length: 3\r\n\r\nabc" if method == "POST" else "\r\n"
                    line.send(
                        run.raw(
                            f"{method} /echo?i={i} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer <KEY_A>\r\n{extra}{body}"
                        )
                    )
                    answer = line.read()
                    statuses.append(answer.status)
                    if answer.status == 502:
                        assert answer.json()["reason"] in ("stale_connection", "reset"), answer
                run.mock.behave("a")
                done = [c["target"] for c in run.mock.ask("calls", mark=0, most=100_000) if "canary" not in c["target"]]
                assert len(done) == len(set(done)), "a side effect happened twice"
                met = run.mock.state()["unread"]
                assert met >= n // 10, f"only {met} connections were found closed"
                if method == "GET" or key:
                    assert statuses == [200] * n, [i for i, s in enumerate(statuses) if s != 200]
                else:
                    assert set(statuses) <= {200, 502} and statuses.count(502) == met, (statuses.count(502), met)


@case("UP-tls-bad", "496b72af88e2")
def tls_bad(run: Run) -> None:
    ca, stranger = trustme.CA(), trustme.CA()
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    certificates = {
        "expired": ca.issue_cert("127.0.0.1", not_after=past),
        "wrong-host": ca.issue_cert("other.example"),
        "unknown-ca": stranger.issue_cert("127.0.0.1"),
        "old": ca.issue_cert("127.0.0.1"),
        "good": ca.issue_cert("127.0.0.1"),
    }
    upstreams = []
    gateway = run.world.boot({})
    ca.cert_pem.write_to_path(str(gateway.folder / "ca.pem"))
    for name, certificate in certificates.items():
        file = gateway.folder / f"{name}.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(str(file))
        run.mock.open(f"tls-{name}", cert=str(file), old=name == "old")
    own = trustme.CA()
    own_file = gateway.folder / "self.pem"
    own.private_key_pem.write_to_path(str(own_file))
    own.cert_pem.write_to_path(str(own_file), append=True)
    run.mock.open("tls-self-signed", cert=str(own_file))
    run.mock.open("tls-closes")
    run.mock.behave("tls-closes", "reset_at_once")
    names = [*certificates, "self-signed", "closes"]
    for name in names:
        upstream = run.world.upstream(name, f"tls-{name}", tls={"ca": "ca.pem"}, warm=0)
        upstream["targets"][0]["url"] = upstream["targets"][0]["url"].replace("http:", "https:")
        upstreams.append(upstream)
    gateway.config.update(run.world.small(upstreams=upstreams, routes=[route(name) for name in names]))
    with gateway:
        for name in names:
            with run.variant(name, gateway=gateway):
                answer = run.request(target=f"/{name}", port=gateway.port)
                seen = [c for c in run.calls() if c["port"] == f"tls-{name}"]
                if name == "good":
                    assert answer.status == 200 and len(seen) == 1, answer
                    continue
                assert answer.status == 502 and answer.code in ("tls_error", "bad_upstream"), answer
                assert answer.code == "tls_error" or name == "closes", answer
                assert not seen, "request bytes were sent"
                text = answer.body.decode()
                assert ".pem" not in text and "127.0.0.1" not in text and ".py" not in text, text
                views = gateway.status()["upstreams"][name].values()
                until(
                    lambda n=name: any(v["breaker"]["failed"] for v in gateway.status()["upstreams"][n].values()),
                    3,
                    f"counted: {views}",
                )


@case("UP-all-down", "33b83f84d69a")
def all_down(run: Run) -> None:
    """N = 100 calls a second, 2 s down and 7 s healed (full: 200, 60 s down)."""
    rate, down = (200, 60) if FULL else (100, 2)
    with over(run, pair(run, run.mock.ports["a"], run.mock.ports["b"])) as gateway:
        with run.variant(gateway=gateway, disturbs=True):
            for name in ("a", "b"):
                run.mock.ask("down", name=name)
            load = Load(gateway.port, get(run, "/pair"), rate, down + 7)
            begun = time.monotonic()
            load.start()
            time.sleep(down)
            for name in ("a", "b"):
                run.mock.ask("up", name=name)
            healed = time.monotonic()
            tally = load.wait()
            dark = each(tally.entries, begun, healed - 0.2)
            assert {e[2] for e in dark} == {503}, tally
            assert {e[3] for e in dark} == {"upstream_unavailable"}, tally
            assert sorted(e[1] for e in dark)[int(0.95 * len(dark))] < 0.02 + 0.05, tally
            after = each(tally.entries, healed + 5.0, healed + 7.0)
            good = sum(e[2] == 200 for e in after)
            assert after and good >= 0.95 * len(after), f"{good} of {len(after)}: {tally}"
            assert run.request(target="/pair", port=gateway.port).status == 200
        with run.variant("an answer that names the wait", gateway=gateway, disturbs=True):
            for name in ("a", "b"):
                run.mock.ask("down", name=name)
            answer = run.request(target="/pair", port=gateway.port)
            for name in ("a", "b"):
                run.mock.ask("up", name=name)
            assert answer.status == 503 and int(answer.get("retry-after")) >= 1, answer


@case("UP-bulkhead", "d8e0b97ef6c9")
def bulkhead(run: Run) -> None:
    """N = 150 calls a second to the one that hangs for 4 s, 40 a second to the other (full: 1,000 and 100 for 20 s).
    The hanging one may hold 60 and let 60 wait."""
    flood, calm, seconds = (1000, 100, 20) if FULL else (150, 40, 4)
    stuck = run.world.upstream("stuck", "a", bulkhead={"max_in_flight": 60, "max_waiting": 60})
    fine = run.world.upstream("fine", "b")
    with over(run, stuck, fine) as gateway, run.variant(gateway=gateway, disturbs=True):
        alone = Load(gateway.port, get(run, "/fine"), calm, 1.5).run()
        run.mock.behave("a", "hang", seconds=seconds + 3)
        hold = Load(gateway.port, get(run, "/stuck"), flood, seconds, most=2 * flood * seconds, patience=40).start()
        tally = Load(gateway.port, get(run, "/fine"), calm, seconds).run()
        assert tally.share(200) == 1.0, tally
        assert tally.quantile(0.99) <= max(1.2 * alone.quantile(0.99), 0.1), f"{tally}, alone {alone}"
        most = run.mock.state()["most_active"].get("a", 0)
        run.mock.ask("down", name="a")
        run.mock.ask("up", name="a")
        run.mock.behave("a")
        held = hold.stop()
        assert most <= 60 + 2, f"{most} at once"
        refused = [e for e in held.entries if e[3] == "overloaded"]
        assert len(refused) > len(held.entries) // 2, held
        assert set(held.statuses()) <= {200, 502, 503, 504}, held


@case("UP-deadline-prop", "ad91c8302ede")
def deadline_prop(run: Run) -> None:
    """N = 20 calls at once (full: 100). 1.0-1.1 s by the clock of the gateway; 0.3 s more are this machine's."""
    n = 100 if FULL else 20
    with run.variant(calls=n, disturbs=True):
        run.mock.behave("a", "hang", seconds=5)
        lines = [Line(run.port) for _ in range(n)]
        begun = time.monotonic()
        for line in lines:
            line.send(run.raw("<G>X-Request-Timeout: 1\r\n\r\n"))
        for line in lines:
            answer = line.read()
            took = time.monotonic() - begun
            assert (answer.status, answer.code) == (504, "deadline_exceeded"), answer
            assert 1.0 <= took < 1.1 + 0.3, f"{took:.3f} s"
            line.close()
        until(lambda: run.mock.state()["active"]["a"] == 0, 2, "the upstream is let go")
        for call in run.calls():
            assert call["end"] == "cut" and call["ended"] - begun < 1.1 + 0.3 + 0.25, call
        run.mock.behave("a")
    with run.variant("0: no call", calls=0):
        answer = run.request(fields=[*run.key, ("X-Request-Timeout", "0")])
        assert (answer.status, answer.code) == (504, "deadline_exceeded"), answer
    for value in ("x", "-1", "1e3", "nan", ""):
        with run.variant(f"malformed {value!r}", calls=0):
            answer = run.request(fields=[*run.key, ("X-Request-Timeout", value)])
            assert answer.status == 400, answer
    run.not_shipped("grpc-timeout", "gRPC comes in a later issue")


@case("UP-error-map", "3c7ab40518c9")
def error_map(run: Run) -> None:
    """On plain routes an upstream's 4xx and 5xx pass unchanged (S6.6); the dialects come with the model surfaces."""
    for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529):
        with run.variant(str(status)):
            content = json.dumps({"error": {"message": f"native {status}", "type": "t"}}).encode()
            run.mock.behave("a", "status", status=status, data=base64.b64encode(content).decode(),
                            fields=[["content-type", "application/json"], ["retry-after", "7"]])  # fmt: skip
            answer = run.request("POST", "/echo", body=b"{}")
            assert (answer.status, answer.body) == (status, content), answer
            assert answer.get("retry-after") == "7" and not answer.get("proxy-status"), answer
            assert len(run.calls()) == 1, "an answer to a POST was asked for twice"
            run.mock.behave("a")
    run.not_shipped("dialects", "model surfaces come in a later issue")


TOXICS: dict[str, dict[str, Any]] = {
    "noop": {}, "latency": {"latency": 0.03, "jitter": 0.02}, "bandwidth": {"rate": 4_000_000}, "slow_close": {"delay": 0.2},
    "slicer": {"size": 7}, "limit_data": {"bytes": 40}, "reset_peer": {}, "timeout": {"timeout": 5}, "down": {},
}  # fmt: skip
HARMLESS = ("noop", "latency", "bandwidth", "slow_close", "slicer")


@case("UP-toxics", "77b1ac5be37b")
def toxics(run: Run) -> None:
    """The group's own rule: each toxic on A of a pair, with unary and streamed answers, idempotent and not. N = 4 calls
    each (full: 200)."""
    n = 200 if FULL else 4
    number = run.mock.ask("toxic", name="matrix", to="a", kind="noop")
    upstream = run.world.upstream("pair", "b", "b", warm=0, retry={"budget_floor": 1000}, timeouts={"attempt": "300ms"})
    upstream["targets"][0]["url"] = f"http://127.0.0.1:{number}"
    with over(run, upstream) as gateway:
        for kind, settings in TOXICS.items():
            run.mock.ask("toxic", name="matrix", to="a", kind=kind, settings=settings)
            for shape in ("unary", "stream"):
                for port in ("a", "b"):
                    if shape == "stream":
                        run.mock.behave(port, "stream", total=150_000)
                    else:
                        run.mock.behave(port)
                for method in ("GET", "POST"):
                    with run.variant(f"{kind}, {shape}, {method}", gateway=gateway, disturbs=True):
                        for i in range(n):
                            target = f"/pair?{kind}{shape}{method}{i}"
                            answer = run.request(
                                method, target, body=b"x" if method == "POST" else None, port=gateway.port
                            )
                            seen = [c["port"] for c in run.calls() if c["target"] == target]
                            fine = answer.status == 200
                            assert fine or (method == "POST" and answer.status in (502, 504)), (answer, seen)
                            assert fine or kind not in (*HARMLESS, "down"), answer
                            assert method == "GET" or len(seen) <= 1, f"a POST was made {len(seen)} times"
                            if fine:
                                assert answer.whole, answer
                                assert shape == "unary" or answer.body == b"x" * 3 * 65536, len(answer.body)
        run.mock.ask("toxic", name="matrix", to="a", kind="noop")
        with run.variant("cut inside a body: never a clean end", gateway=gateway, disturbs=True):
            run.mock.ask("toxic", name="matrix", to="a", kind="limit_data", settings={"bytes": 100_000})
            cut = 0
            for i in range(n):
                answer = run.request(target=f"/pair?cut{i}", port=gateway.port)
                assert answer.status == 200, answer
                cut += not answer.whole
                assert not answer.whole or len(answer.body) == 3 * 65536, "a clean end after a cut"
            assert cut, "no answer was cut"
            run.mock.ask("toxic", name="matrix", to="a", kind="noop")
