"""A worker's body in this very process: start, reload, drain, what it tells control. Real ones: test_processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate.control.channel import Channel, pair
from tidegate.control.data_folder import DataFolder
from tidegate.control.generations import Generations
from tidegate.control.link import LinkConnection, LinkServer
from tidegate.control.listening import listen
from tidegate.control.node_secrets import load_peppers, make_secrets
from tidegate.control.token_child import TokenChild
from tidegate.control.worker import Birth, Worker, rehearse
from tidegate.engine.segment import Segment

CONFIG = """
listeners: [{address: "127.0.0.1:0"}]
drain: {accept: 0s, finish: 5s}
routes:
  - {name: hello, match: {path: /hello}, respond: {status: 200, text: hello}}
"""


SLOTS_FILE = "data/authority/slots.json"


class House:
    """One worker with its folder, its supervisor's channel and its control's link, all played by the test."""

    def __init__(self, path: Path) -> None:
        self.config = path / "c.yaml"
        self.folder = DataFolder(path / "data")
        self.folder.make()
        make_secrets(self.folder, os.environ)
        self.generations = Generations(self.config, os.environ)
        self.write(CONFIG)
        self.listening = listen("127.0.0.1", 0)
        self.address = self.listening.getsockname()
        self.segment = Segment.local(2)
        ours, theirs = pair()
        self.supervisor: Channel = ours
        self.birth = Birth(
            row=0,
            workers=1,
            generation=self.generations.number,
            folder=self.folder,
            config_folder=path,
            sockets={"127.0.0.1:0": self.listening},
            segment=self.segment,
            refused=[],
            test_profile=False,
            channel=theirs,
        )
        self.listens = True
        """Whether the authority of limits answers."""
        self.said: list[dict[str, Any]] = []
        self.news = asyncio.Event()
        self.link = LinkServer(self._said, self._said, lambda connection: None)

    def write(self, text: str) -> int:
        self.config.write_text(text)
        checked = self.generations.check()
        return self.generations.write(checked, self.folder, load_peppers(self.folder, os.environ)[-1])

    def _said(self, connection: LinkConnection, message: dict[str, Any]) -> None:
        self.said.append(message)
        self.news.set()
        if message["kind"] == "hold" and self.listens:
            connection.send("grant", items=[])

    async def heard(self, kind: str) -> dict[str, Any]:
        """The next message of *kind*; those before it are forgotten."""
        async with asyncio.timeout(10):
            while True:
                while self.said:
                    message = self.said.pop(0)
                    if message["kind"] == kind:
                        return message
                self.news.clear()
                await self.news.wait()

    async def get(self) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer


def play(
    path: Path, scene: Callable[[House, Worker], Any], end: Callable[[House], object], listens: bool = True
) -> int:
    """Run a worker around *scene*; its exit code after *end*."""

    async def run() -> int:
        house = House(path)
        house.listens = listens
        await house.link.start(house.folder.place_socket("link.sock"))
        worker = Worker(house.birth)
        task = asyncio.get_running_loop().create_task(worker.run())
        assert (await house.heard("hello"))["slot"] == 0
        await scene(house, worker)
        end(house)
        async with asyncio.timeout(10):
            code = await task
        house.link.close()
        return code

    return asyncio.run(run())


async def told(house: House) -> dict[str, Any]:
    """What the worker tells its supervisor next."""
    async with asyncio.timeout(5):
        while True:
            parcel = house.supervisor.receive()
            if parcel is not None:
                return parcel.message
            await asyncio.sleep(0.001)


def drain(house: House) -> None:
    house.supervisor.send("drain", accept=False, finish=-1.0)


def test_it_says_ready_serves_beats_and_drains_to_exit_0(tmp_path: Path) -> None:
    async def scene(house: House, worker: Worker) -> None:
        assert house.supervisor.receive() is None, "the authority of limits has not answered yet"
        await asyncio.wait_for(worker.met.wait(), 5)
        parcel = await told(house)
        assert parcel == {"kind": "ready", "generation": 1}
        assert (await house.get()).startswith(b"HTTP/1.1 200")
        assert house.segment.heartbeats()[0] > 0

    assert play(tmp_path, scene, drain) == 0


def test_s9_4_it_is_ready_after_a_while_even_if_the_authority_of_limits_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.control.worker.MEET", 0.02)

    async def scene(house: House, worker: Worker) -> None:
        assert await told(house) == {"kind": "ready", "generation": 1}
        assert not worker.met.is_set()

    assert play(tmp_path, scene, drain, listens=False) == 0


def test_it_knows_the_places_of_endpoints_before_control_tells_them(tmp_path: Path) -> None:
    (tmp_path / "data" / "authority").mkdir(parents=True)
    (tmp_path / SLOTS_FILE).write_text('{"endpoints": {"a 192.0.2.1:81": 3}, "upstreams": {"a": 1}}')

    async def scene(house: House, worker: Worker) -> None:
        assert worker.engine is not None
        assert worker.engine.slots == {"a": 1, "a|192.0.2.1:81": 3}

    assert play(tmp_path, scene, drain) == 0


def test_a_generation_is_applied_and_acknowledged(tmp_path: Path) -> None:
    async def scene(house: House, worker: Worker) -> None:
        number = house.write(CONFIG.replace("text: hello", "text: bye"))
        house.link.broadcast("generation", number=number)
        ack = await house.heard("ack")
        assert ack == {"kind": "ack", "generation": 2, "wanted": 2, "error": ""}
        assert (await house.get()).endswith(b"bye")
        house.link.broadcast("generation", number=1)
        assert (await house.heard("ack"))["generation"] == 2

    assert play(tmp_path, scene, drain) == 0


def test_a_generation_that_cannot_be_taken_leaves_the_old_one_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene(house: House, worker: Worker) -> None:
        house.folder.replace("plans/2.json", b"{}")
        house.link.broadcast("generation", number=2)
        ack = await house.heard("ack")
        assert (ack["generation"], ack["wanted"]) == (1, 2) and "generation file" in ack["error"]
        number = house.write(CONFIG.replace('"127.0.0.1:0"', '"127.0.0.1:1"'))
        house.link.broadcast("generation", number=number)
        ack = await house.heard("ack")
        assert ack["error"] == "LookupError: no socket for 127.0.0.1:1"
        assert (await house.get()).endswith(b"hello")
        house.write(CONFIG)
        house.link.broadcast("generation", number=house.generations.number)
        ack = await house.heard("ack")
        assert (ack["generation"], ack["error"]) == (house.generations.number, "")

    assert play(tmp_path, scene, drain) == 0
    assert "LookupError" in capsys.readouterr().err


def test_figures_come_when_asked_for_and_once_more_at_the_end(tmp_path: Path) -> None:
    ends: list[House] = []

    async def scene(house: House, worker: Worker) -> None:
        ends.append(house)
        await house.get()
        house.link.broadcast("collect", asked=5, explain=True)
        report = await house.heard("report")
        while report.get("asked") != 5:
            report = await house.heard("report")
        assert report["pid"] == os.getpid() and report["generation"] == 1 and report["explain"] == {}
        assert report["counters"]["requests_total"]["series"] == [[["hello", "GET", "200"], 1]]
        house.link.broadcast("something_new")
        house.link.broadcast("ping", at=1)
        assert await house.heard("pong") == {"kind": "pong", "at": 1}

    assert play(tmp_path, scene, drain) == 0


def test_the_end_of_the_supervisor_is_the_end_of_the_worker(tmp_path: Path) -> None:
    async def scene(house: House, worker: Worker) -> None:
        assert (await house.get()).startswith(b"HTTP/1.1 200")

    assert play(tmp_path, scene, lambda house: house.supervisor.close()) == 0


class HeldTunnel:
    """A tunnel that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def go_away(self, code: int) -> None:
        self.told.append(code)


@pytest.mark.parametrize(("finish", "code"), [(-1.0, 1001), (60.0, 1012)], ids=["stop", "upgrade"])
def test_s23_5_tunnels_hear_whether_another_worker_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finish: float, code: int
) -> None:
    monkeypatch.setattr("tidegate.control.worker.LAST_REQUEST", 0.01)
    monkeypatch.setitem(globals(), "CONFIG", CONFIG.replace("5s", "300ms"))
    tunnel = HeldTunnel()
    idle: list[Any] = []
    """Open until idle connections are closed; until then the worker does not end."""

    async def scene(house: House, worker: Worker) -> None:
        idle.append(await asyncio.open_connection(*house.address))
        await house.get()
        assert worker.engine is not None and worker.engine.runtime is not None
        worker.engine.runtime.tunnels.add(tunnel)  # type: ignore[arg-type]

    leave = {"accept": False, "finish": finish}
    assert play(tmp_path, scene, lambda house: house.supervisor.send("drain", **leave)) == 0
    assert tunnel.told == [code]


def test_stop_does_not_wait_for_a_connection_that_is_open(tmp_path: Path) -> None:
    async def scene(house: House, worker: Worker) -> None:
        _, writer = await asyncio.open_connection(*house.address)
        writer.write(b"GET /hello HTTP/1.1\r\n")
        await writer.drain()

    assert play(tmp_path, scene, lambda house: house.supervisor.send("stop")) == 0


def test_refused_requests_reach_the_engine(tmp_path: Path) -> None:
    async def scene(house: House, worker: Worker) -> None:
        house.supervisor.send("refuse", works=[1, 2])
        worker._hear()
        assert worker.engine is not None
        assert worker.engine.refused == {1, 2}

    assert play(tmp_path, scene, drain) == 0


def test_a_rehearsal_builds_the_newest_generation_or_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house = House(tmp_path)
    house.listening.close()
    assert rehearse(house.folder) == 0
    house.folder.replace("plans/9.json", b'{"format": 99}')
    assert rehearse(house.folder) == 1
    assert "generation 9 cannot be served by this program" in capsys.readouterr().err
    assert rehearse(DataFolder(tmp_path / "nothing")) == 1


def test_tokens_are_counted_below_it_and_told_on_its_loop(tmp_path: Path) -> None:
    async def scene(house: House, worker: Worker) -> None:
        tokens = worker.tools.tokens
        assert isinstance(tokens, TokenChild)
        told: asyncio.Future[int] = worker.loop.create_future()
        assert worker.tools.aside(lambda: tokens.count("hello world"), told.set_result, "counting", 1)
        assert await asyncio.wait_for(told, 30) == 2
        tokens.close()

    assert play(tmp_path, scene, drain) == 0
