"""SL: slow and many connections. Times of the limits are shortened in the config of these gateways, not of the cases:
with TIDEGATE_ABUSE=full they are the defaults. The canary comes from 127.0.0.2."""

from __future__ import annotations

import re
import resource
import time
from typing import Any

from abuse.gateway import Gateway, until
from abuse.runner import FULL, Run, case
from abuse.talk import Line, Load

IDLE = 75.0 if FULL else 2.5
STUCK = 30.0 if FULL else 4.0


def quick(run: Run, **limits: Any) -> Gateway:
    """A gateway that tires sooner than the default, unless the run is a full one. It holds as many streams as there are:
    the adaptive limit, which begins at 25 a worker, and the pool would turn most of a full run away."""
    config = run.world.small(limits={"keep_alive": f"{IDLE}s", "stuck_client": f"{STUCK}s", **limits})
    config["upstreams"][0].update(max_connections=512, bulkhead={"adaptive": False})
    return run.world.boot(config)


def lines(port: int, count: int, **more: Any) -> list[Line]:
    return [Line(port, **more) for _ in range(count)]


def clients(gateway: Gateway, run: Run) -> int:
    return gateway.open_sockets(set(run.mock.ports.values()))[0]


@case("SL-slow-read", "24dd55a417b1")
def slow_read(run: Run) -> None:
    """N = 30 streams and a limit of 4 s (full: 500 and 30 s). What a client took at first counts as progress, so the
    end comes between one and two limits after the last byte that it took."""
    count = 500 if FULL else 30
    with quick(run) as gateway, run.variant(gateway=gateway, disturbs=True):
        run.mock.behave("a", "stream", type="text/event-stream", pause=0.01)
        before = gateway.rss()
        begun = time.monotonic()
        open_ = lines(gateway.port, count, receive_buffer=1024)
        for line in open_:
            line.send(run.raw("<G>\r\n"))
        until(lambda: run.mock.state()["active"]["a"] == count, 10, "all stream")

        def paused() -> bool:
            sent = [c["sent"] for c in run.calls()]
            time.sleep(0.2)
            return [c["sent"] for c in run.calls()] == sent

        until(paused, STUCK * 0.9, "upstream reading pauses")
        grown = (gateway.rss() - before) // count
        assert grown < (256 << 10), f"{grown >> 10} KiB a stream"
        assert clients(gateway, run) == count, "closed too early"
        until(lambda: clients(gateway, run) == 0, 3 * STUCK + 3, "all are closed")
        took = time.monotonic() - begun
        assert took >= STUCK, f"closed after {took:.1f} s"
        until(lambda: run.mock.state()["active"]["a"] == 0, 3, "the upstream is let go")
        for line in open_:
            line.close()
        run.mock.behave("a")


@case("SL-idle-5000", "f391b81f46db")
def idle_5000(run: Run) -> None:
    """N = 300 and an idle limit of 2.5 s (full: 5,000 and 75 s). 8 KiB a connection, and 2 MB that are not theirs."""
    count = 5000 if FULL else 300
    with quick(run) as gateway, run.variant(gateway=gateway, disturbs=True):
        before = gateway.rss()
        open_ = lines(gateway.port, count)
        first = time.monotonic()
        for line in open_:
            line.send(run.raw("<G>\r\n"))
            assert line.read().status == 200
        last = time.monotonic()
        grown = gateway.rss() - before
        assert grown < count * 8192 + (2 << 20), f"{grown / count:.0f} bytes a connection"
        while time.monotonic() < first + IDLE - 1.2:
            if FULL:
                time.sleep(0.5)
            assert clients(gateway, run) == count, "closed before the limit"
        until(lambda: clients(gateway, run) == 0, last - first + 1.2 + 5.0, "all are closed")
        assert time.monotonic() - last >= IDLE - 1.5
        assert all(line.finished(0.5) for line in open_)


@case("SL-conn-flood", "49859d950cde")
def conn_flood(run: Run) -> None:
    """RLIMIT_NOFILE 512 and N = 700 connects held for 2 s (full: 16,384 and 20,000, where this machine's own limit
    allows; held 30 s)."""
    limit, count, hold = (16_384, 18_000, 30) if FULL else (512, 700, 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    gateway = run.world.boot(run.world.small())
    gateway.descriptors = limit
    with gateway, run.variant(gateway=gateway, disturbs=True):
        run.world.warm(gateway)
        pids = gateway.workers()
        most = 2 * int(limit // 2 * 0.75)
        open_: list[Line] = []
        for _ in range(count):
            open_.append(Line(gateway.port))
        until(lambda: clients(gateway, run) <= most, 5, "the rest is closed")
        end = time.monotonic() + hold
        held = 0
        while time.monotonic() < end:
            held = max(held, clients(gateway, run))
            run.world.canary(gateway)
            time.sleep(0.05)
        assert most - 40 <= held <= most + 1, f"{held} held, {most} allowed"
        closed = gateway.metric("rejects_total", code="connections_per_address")
        assert closed >= count - most - 40, f"{closed} counted"
        assert "EMFILE" not in gateway.log.read_text()
        assert gateway.workers() == pids
        for line in open_:
            line.close()
        until(lambda: clients(gateway, run) == 0, 3)


@case("SL-half-open", "6d4cddff7a93")
def half_open(run: Run) -> None:
    """N = 200 silent and 200 cut, idle limit 2.5 s (full: 5,000 each and 75 s)."""
    count = 5000 if FULL else 200
    with quick(run) as gateway, run.variant(gateway=gateway, disturbs=True):
        run.world.warm(gateway)
        half = run.raw("<P>")[: len(run.raw("<P>")) // 2]
        silent = lines(gateway.port, count)
        begun = time.monotonic()
        for line in lines(gateway.port, count):
            line.send(half)
            line.reset()
        until(lambda: clients(gateway, run) <= count, 1.0 + 1.0 * (not FULL), "the cut ones are gone")
        until(lambda: clients(gateway, run) == count, 1.0, "the silent ones are there")
        until(lambda: clients(gateway, run) == 0, IDLE + 5, "the silent ones are gone")
        assert time.monotonic() - begun >= IDLE - 1.0
        assert all(line.finished(0.5) for line in silent)


@case("SL-unauth-slot-hog", "0dd490a92ccc")
def unauth_slot_hog(run: Run) -> None:
    """N = 200 open POSTs, renewed as they are answered, among 60 valid calls a second for 3 s (full: 10,000, 100 a
    second for 20 s)."""
    count, rate, seconds = (10_000, 100, 20) if FULL else (200, 60, 3)
    with run.variant(disturbs=True):
        text = b"POST /echo?bad HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer sk-wrong\r\nContent-Length: 1000000\r\n\r\nxxxx"
        bad = lines(run.port, count, source="127.0.0.5")
        for line in bad:
            line.send(text)
        good = run.raw("<G>\r\n")
        load = Load(run.port, lambda i: good, rate, seconds).start()
        while load.thread.is_alive():
            views = run.gateway.status()["upstreams"]["echo"].values()
            most = max(view["admission"]["in_flight"] for view in views)
            assert most <= 20, f"{most} slots are held"
            time.sleep(0.1)
        tally = load.wait()
        assert tally.share(200) == 1.0, tally
        assert not [c for c in run.calls() if "bad" in c["target"]], "a bad one reached the upstream"
        for line in bad:
            answer = line.read(2.0)
            assert answer.status in (401, 429), answer
            line.close()


@case("SL-keepalive-abuse", "593a70e063bd")
def keepalive_abuse(run: Run) -> None:
    """N = 21,000 fixed answers in batches of 100 (full: 1,000,000 calls to /echo, one after another), reconnecting when
    told to."""
    total, batch, text = (
        (1_000_000, 1, run.raw("<G>\r\n")) if FULL else (21_000, 100, b"GET /hello HTTP/1.1\r\nHost: gw\r\n\r\n")
    )

    def serve(total: int) -> list[int]:
        """How many each connection served."""
        done = 0
        ends: list[int] = []
        while done < total:
            with Line(run.port) as line:
                served = 0
                closing = False
                while done < total and not closing:
                    line.send(text * batch)
                    for _ in range(batch):
                        answer = line.read()
                        assert answer.status == 200, answer
                        served += 1
                        done += 1
                        if answer.get("connection").lower() == "close":
                            closing = True
                            break
                    line.data, line.at = line.data[line.at :], 0
                ends.append(served)
                if closing:
                    assert line.finished(2.0) or batch > 1
        return ends

    with run.variant("first"):
        serve(total if FULL else 11_000)
    # What malloc keeps sways by some MiB, around a level that 500,000 calls do not raise; 400 bytes a call would show.
    with run.variant("second", rss=(1 if FULL else 8) << 20):
        ends = serve(total)
        assert all(n == 10_000 for n in ends[:-1]) and len(ends) == 1 + (total - 1) // 10_000, ends
        assert not re.search("Traceback", run.gateway.log.read_text())
