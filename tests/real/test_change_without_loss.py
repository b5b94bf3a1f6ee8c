"""Reloads, upgrades, drains and killed workers under load lose nothing (F11, F12, S23.1, S23.2, S23.5, S23.6).

``TIDEGATE_FULL=1`` runs 1,000 reloads, 100 kills and 100 upgrades; without it some of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from real.processes import FULL, Gateway, Nginx, free_port, held_by, stand_still, until
from real.traffic import Failure, Load, Request, Talk, call

RELOADS: Final = 1000 if FULL else 30
KILLS: Final = 100 if FULL else 6
UPGRADES: Final = 100 if FULL else 2
DRAINS: Final = 20 if FULL else 2
BIG: Final = 65_536
SLOW: Final = 400_000

pytestmark = pytest.mark.timeout(3600 if FULL else 120)

SERVICE: Final = """
server {{
  listen 127.0.0.1:{port} backlog=4096;
  keepalive_timeout 75s;
  root {root};
  location /slow/ {{ limit_rate 400k; }}
  location = /quick {{ return 200 "quick"; }}
  location = /taken {{ return 200 "taken $http_content_length"; }}
}}
"""

CONFIG: Final = """
listeners: [{{address: "127.0.0.1:{door}"}}]
admin: {{address: "127.0.0.1:{admin}"}}
workers: {workers}
drain: {{accept: 1s, finish: 10s}}
upstreams:
  - name: service
    targets: [{targets}]
    health: {{path: /quick, interval: 500ms, timeout: 400ms, fall: 2, rise: 1}}
  - name: socket
    targets: [{{url: "http://127.0.0.1:{echo}"}}]
  - name: gone
    targets: [{{url: "http://127.0.0.1:{nobody}"}}]
    breaker: {{failure_rate: 50, window: 20, min_calls: 5, open_for: 10m}}
    retry: {{attempts: 0}}
routes:
  - {{name: mark, match: {{path: /mark, exact: true}}, respond: {{status: 200, json: {{mark: {mark}}}}}}}
  - {{name: gone, match: {{path: /gone}}, upstream: gone}}
  - {{name: ws, match: {{path: /ws}}, upstream: socket}}
{more}
  - name: service
    match: {{path: /}}
    filters:
      - {{use: rate_limit, rate: 1000000/s, by: ip}}
      - {{use: headers, response: {{set: {{x-mark: "{mark}"}}}}}}
    upstream: service
"""

REQUESTS: Final = [
    Request("GET", "/quick", b"quick", 5),
    Request("GET", "/big.txt", b"bbbb", BIG),
    Request("POST", "/taken", b"taken 20000", 11, b"p" * 20_000),
    Request("GET", "/quick", b"quick", 5),
]
STREAM: Final = [Request("GET", "/slow/slow.txt", b"ssss", SLOW)]


class Site:
    """Two nginx and a gateway whose config is written anew for every change."""

    def __init__(self, program: str, folder: Path, workers: int = 2) -> None:
        root = folder / "www"
        (root / "slow").mkdir(parents=True)
        (root / "big.txt").write_bytes(b"b" * BIG)
        (root / "slow" / "slow.txt").write_bytes(b"s" * SLOW)
        self.ports = [free_port(), free_port()]
        self.door, self.admin, self.echo, self.nobody = free_port(), free_port(), free_port(), free_port()
        self.workers = workers
        self.config = folder / "site.yaml"
        self.upstreams = [
            Nginx(program, folder / f"nginx-{n}", SERVICE.format(port=port, root=root), port).start()
            for n, port in enumerate(self.ports)
        ]
        self.write(0)
        self.gateway = Gateway(self.config, folder, self.admin)

    def text(self, mark: int, ports: list[int] | None = None, more: str = "") -> str:
        targets = ", ".join(f'{{url: "http://127.0.0.1:{port}"}}' for port in ports or self.ports)
        return CONFIG.format(
            door=self.door, admin=self.admin, workers=self.workers, targets=targets, echo=self.echo,
            nobody=self.nobody, mark=mark, more=more,
        )  # fmt: skip

    def write(self, mark: int, ports: list[int] | None = None, more: str = "") -> None:
        self.put(self.text(mark, ports, more))

    def put(self, text: str) -> None:
        """As editors do it: whole, then in its place."""
        beside = self.config.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self.config)

    async def marked(self, mark: int) -> None:
        """Wait until every worker serves the config with *mark*."""

        def taken() -> bool:
            status = self.gateway.status()
            return all(w["generation"] == status["generation"] for w in status["workers"])

        async with asyncio.timeout(20):
            while (await call(self.door, "GET", "/mark")).body != json.dumps({"mark": mark}).replace(" ", "").encode():
                await asyncio.sleep(0.01)
        await asyncio.to_thread(until, taken, 20, lambda: self.gateway.said)

    def close(self) -> None:
        self.gateway.abandon()
        for upstream in self.upstreams:
            upstream.kill()


@pytest.fixture
def site(nginx_program: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(nginx_program, tmp_path)
    try:
        made.gateway.ready()
        yield made
        made.gateway.stop()
        assert "Traceback" not in made.gateway.said
    finally:
        made.close()


def report(what: str, load: Load, seconds: float, more: str = "") -> None:
    """For ``pytest -s`` and for the figures of the README."""
    print(f"\n{what}: {load.total} calls in {seconds:.1f} s, {len(load.failures)} failed {load.kinds()} {more}")


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


# -- reloads --------------------------------------------------------------------------------------------------------


def test_reloads_by_signal_file_and_command_lose_nothing(site: Site) -> None:
    """F11. Every change is a real one: a field of each answer, and in turn a route, or an endpoint more or less."""

    async def change(n: int) -> None:
        ports = site.ports if n % 2 else site.ports[:1]
        more = f"  - {{name: extra, match: {{path: /extra/{n}}}, upstream: service}}" if n % 3 == 0 else ""
        site.write(n, ports, more)
        if n % 3 == 1:
            site.gateway.signal(signal.SIGHUP)
        elif n % 3 == 2:
            done = await asyncio.to_thread(site.gateway.reload)
            assert done.returncode == 0, done.stderr
        await site.marked(n)

    async def scenario() -> tuple[Load, Load, float]:
        begun = time.monotonic()
        before = await asyncio.to_thread(site.gateway.workers)
        async with (
            serve(echo, "127.0.0.1", site.echo),
            connect(f"ws://127.0.0.1:{site.door}/ws") as tunnel,
            Load(site.door, REQUESTS, keeping=10, sending=6, pause=0.01) as load,
            Load(site.door, STREAM, keeping=3, sending=0) as streams,
        ):
            await load.flowing(200)
            for n in range(1, RELOADS + 1):
                await change(n)
                await tunnel.send(f"still here after {n}")
                assert await tunnel.recv() == f"still here after {n}"
            await load.flowing(200)
        assert await asyncio.to_thread(site.gateway.workers) == before, "a reload starts no process"
        return load, streams, time.monotonic() - begun

    load, streams, seconds = asyncio.run(scenario())
    report(f"{RELOADS} reloads", load, seconds, f"and {streams.total} streams, {len(streams.failures)} failed")
    assert load.failures == []
    assert streams.failures == []
    assert streams.total >= 3
    assert site.gateway.status()["generation"] >= RELOADS + 1


def test_a_bad_file_keeps_the_old_plan_and_is_named(site: Site) -> None:
    """S23.1: by file alone and by command; the error stays in the status until a good one comes."""

    async def scenario() -> Load:
        async with Load(site.door, REQUESTS, keeping=4, sending=4, pause=0.01) as load:
            await load.flowing(50)
            before = site.gateway.status()["generation"]
            site.put(site.text(1).replace("upstream: socket", "upstream: nowhere"))
            await asyncio.to_thread(until, lambda: "config_error" in site.gateway.status(), 10)
            refused = await asyncio.to_thread(site.gateway.reload)
            assert refused.returncode == 1
            assert "nowhere" in refused.stderr and "site.yaml:" in refused.stderr
            status = await asyncio.to_thread(site.gateway.status)
            assert status["generation"] == before
            assert "nowhere" in status["config_error"]["error"]
            site.put("listeners: [\x00")
            assert (await asyncio.to_thread(site.gateway.reload)).returncode == 1
            await load.flowing(50)
            assert (await call(site.door, "GET", "/mark")).body == b'{"mark":0}'
            site.write(2)
            await site.marked(2)
            assert "config_error" not in await asyncio.to_thread(site.gateway.status)
        return load

    assert asyncio.run(scenario()).failures == []


def test_health_and_breaker_state_outlive_a_reload(site: Site) -> None:
    """S23.2. One nginx is dead and known to be; one upstream's breaker is open for ten minutes."""
    site.upstreams[1].kill()

    def known() -> list[bool]:
        shown = site.gateway.status()["upstreams"]["service"]
        return [e["usable"] for view in shown.values() for e in view["endpoints"] if e["endpoint"].endswith(dead)]

    def states() -> set[str]:
        return {view["breaker"]["state"] for view in site.gateway.status()["upstreams"]["gone"].values()}

    async def scenario() -> None:
        async def opened() -> bool:
            code = json.loads((await call(site.door, "GET", "/gone")).body)
            return "circuit" in code.get("reason", "")

        async with asyncio.timeout(10):
            while not await opened():
                pass
        # Each worker hears of it with its next failure: any row may open (ARCHITECTURE 11).
        await asyncio.to_thread(until, lambda: known() == [False, False], 10, lambda: str(known()))
        before = states()
        assert "open" in before
        site.write(1)
        site.gateway.signal(signal.SIGHUP)
        await site.marked(1)
        assert known() == [False, False]
        assert states() == before
        assert await opened()

    dead = f":{site.ports[1]}"
    asyncio.run(scenario())


# -- killed workers -------------------------------------------------------------------------------------------------


def test_a_killed_worker_takes_with_it_only_what_it_held(site: Site) -> None:
    """F12, S23.6. Stopped first, so that what it holds is known for certain; then SIGKILL.

    A connection that waits in the shared queue belongs to nobody and is served by the others. Another worker is ready
    within a second; half of the times may be longer, because the load leaves no processor idle.
    """

    async def scenario() -> tuple[Load, list[tuple[float, set[int]]], list[float], float]:
        begun = time.monotonic()
        deaths: list[tuple[float, set[int]]] = []
        returns: list[float] = []
        async with Load(site.door, REQUESTS, keeping=10, sending=10) as load:
            for n in range(KILLS):
                await load.flowing(200)
                workers = await asyncio.to_thread(site.gateway.workers)
                assert sorted(workers) == [0, 1]
                pid = workers[n % 2]
                at = time.monotonic()
                stand_still(pid)
                held = held_by(pid, site.door)
                # It stands still with its connections: what arrives now waits for whoever lives.
                await load.flowing(20)
                children = site.gateway.children()
                os.kill(pid, signal.SIGKILL)
                deaths.append((at, held))

                def replaced(before: set[int] = children) -> bool:
                    return bool(site.gateway.children() - before)

                def back(row: int = n % 2, dead: int = pid) -> bool:
                    return site.gateway.workers().get(row, dead) != dead

                returns.append(await asyncio.to_thread(until, replaced, 10, lambda: site.gateway.said))
                returns[-1] += await asyncio.to_thread(until, back, 10, lambda: site.gateway.said)
            await load.flowing(200)
        return load, deaths, returns, time.monotonic() - begun

    load, deaths, returns, seconds = asyncio.run(scenario())

    def excused(failure: Failure) -> bool:
        return failure.kind in ("reset", "closed", "cut") and any(
            failure.port in held and 0 <= failure.at - at < 10 for at, held in deaths
        )

    unexcused = [failure for failure in load.failures if not excused(failure)]
    lost = sum(len(held) for _, held in deaths)
    report(
        f"{KILLS} kills",
        load,
        seconds,
        f"of {lost} connections held; back in {median(returns):.2f} s, at most {max(returns):.2f}",
    )
    assert unexcused == []
    assert len(load.failures) <= lost
    assert median(returns) < 1.0
    assert site.gateway.process.poll() is None


def test_calls_go_on_while_control_is_killed(site: Site) -> None:
    """A worker serves without control (ARCHITECTURE 1); another control takes over and knows the workers again."""

    async def scenario() -> Load:
        async with Load(site.door, REQUESTS, keeping=6, sending=6, pause=0.01) as load:
            await load.flowing(100)
            workers = await asyncio.to_thread(site.gateway.workers)
            (control,) = site.gateway.children() - set(workers.values())
            os.kill(control, signal.SIGKILL)
            await load.flowing(400)
            await asyncio.to_thread(site.gateway.ready)
            await asyncio.to_thread(until, lambda: site.gateway.workers() == workers, 10)
            site.write(1)
            await site.marked(1)
        return load

    load = asyncio.run(scenario())
    assert load.failures == []


def test_a_worker_born_while_control_stands_still_serves_upstreams(site: Site) -> None:
    """C8.5: plan and places come from the data folder; nobody is told that no endpoint is healthy."""
    workers = site.gateway.workers()
    before = site.gateway.children()
    (control,) = before - set(workers.values())

    async def scenario() -> None:
        os.kill(workers[0], signal.SIGKILL)
        await asyncio.to_thread(until, lambda: site.gateway.children() - before, 5)
        (born,) = site.gateway.children() - before
        async with asyncio.timeout(10):
            served = False
            while not served:
                talk = await Talk.open(site.door)
                assert (await talk.call("GET", "/quick")).status == 200
                served = talk.port in held_by(born, site.door)
                talk.close()

    stand_still(control)
    try:
        asyncio.run(scenario())
    finally:
        os.kill(control, signal.SIGCONT)
    until(lambda: sorted(site.gateway.workers()) == [0, 1], 10)


# -- drain and upgrade ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(DRAINS))
def test_connect_then_sigterm_then_send_is_answered(site: Site, turn: int) -> None:
    """S23.5: idle connections have one last request, an answer on its way ends whole, new ones come for a while."""

    async def scenario() -> None:
        fresh = [await Talk.open(site.door) for _ in range(20)]
        used = [await Talk.open(site.door) for _ in range(20)]
        for talk in used:
            assert (await talk.call("GET", "/quick")).body == b"quick"
        slow = await Talk.open(site.door)
        slow.send("GET", "/slow/slow.txt")
        assert await slow.reader.readexactly(12) == b"HTTP/1.1 200"
        site.gateway.signal(signal.SIGTERM)
        await asyncio.to_thread(until, lambda: "stopping" in site.gateway.said, 5)
        answers = await asyncio.gather(*(talk.call("GET", "/quick") for talk in [*fresh, *used]))
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"quick")}
        late = await call(site.door, "GET", "/quick")
        assert (late.status, late.body, late.fields["connection"]) == (200, b"quick", "close")
        rest = await slow.reader.read(-1)
        assert rest.endswith(b"s" * (SLOW // 10)) and rest.count(b"s") >= SLOW

    asyncio.run(scenario())
    assert site.gateway.process.wait(15) == 0


def test_a_drain_under_load_loses_no_call_that_was_accepted(site: Site) -> None:
    """SIGTERM under load: whoever gets a connection gets an answer; only then does connecting fail."""

    async def scenario() -> list[Failure]:
        async with Load(site.door, REQUESTS, keeping=8, sending=8) as load:
            await load.flowing(300)
            site.gateway.signal(signal.SIGTERM)
            assert await asyncio.to_thread(site.gateway.process.wait, 15) == 0
        return load.failures

    failures = asyncio.run(scenario())
    assert [failure for failure in failures if not failure.kind.startswith("not connected")] == []


async def upgraded(site: Site) -> None:
    """SIGUSR2, and wait until the old workers have left."""
    before = set((await asyncio.to_thread(site.gateway.workers)).values())
    done = site.gateway.said.count("upgrade: done")
    site.gateway.signal(signal.SIGUSR2)

    def taken_over() -> bool:
        return site.gateway.said.count("upgrade: done") > done

    def replaced() -> bool:
        alive = {worker["pid"] for worker in site.gateway.status()["workers"]}
        return len(alive) == 2 and not alive & before

    await asyncio.to_thread(until, taken_over, 30, lambda: site.gateway.said)
    await asyncio.to_thread(site.gateway.ready)
    await asyncio.to_thread(until, replaced, 30, lambda: str(site.gateway.status()["workers"]))


def test_an_upgrade_keeps_the_pid_and_loses_nothing(site: Site) -> None:
    """S23.6: SIGUSR2, twice and more; holders that think for long keep their connection for one more request."""

    async def scenario() -> tuple[Load, Load, float]:
        begun = time.monotonic()
        async with (
            Load(site.door, REQUESTS, keeping=10, sending=10, pause=0.01) as load,
            Load(site.door, REQUESTS, keeping=10, sending=0, pause=0.8) as thinkers,
        ):
            for _ in range(UPGRADES):
                await load.flowing(200)
                await upgraded(site)
            await load.flowing(200)
        return load, thinkers, time.monotonic() - begun

    pid = site.gateway.pid
    load, thinkers, seconds = asyncio.run(scenario())
    report(f"{UPGRADES} upgrades", load, seconds, f"and {thinkers.total} thinking, {thinkers.kinds()}")
    assert site.gateway.pid == pid and site.gateway.process.poll() is None
    assert load.failures == []
    assert thinkers.failures == []
    site.write(3)
    asyncio.run(site.marked(3))
