"""Control in this very process, with a supervisor and workers played by the test. Real ones: test_processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate.control.birth import Birth, CannotStart
from tidegate.control.channel import pair
from tidegate.control.control import Control
from tidegate.control.data_folder import DataFolder
from tidegate.control.generations import Generations
from tidegate.control.link import LinkClient
from tidegate.engine.segment import Segment

CONFIG = """
listeners: [{address: "127.0.0.1:0"}]
drain: {accept: 1s, finish: 2s}
upstreams: [{name: u, targets: [{url: "http://192.0.2.1:9"}]}]
routes:
  - {name: hello, match: {path: /hello}, respond: {status: 204}}
"""


class House:
    """A control, the supervisor's end of its channel, and one worker's end of its link."""

    def __init__(self, path: Path, environment: dict[str, str], fresh: bool = True) -> None:
        self.config = path / "c.yaml"
        self.data = path / "tidegate-data"
        self.segment = Segment.create(2)
        self.channel, theirs = pair()
        birth = Birth(self.config, None if fresh else self.data, None, fresh, False, theirs)
        self.control = Control(birth, environment)
        self.heard: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.refuse = ""
        self.answer = True
        self.early: list[Any] = []
        """The crew of which control hears before it has a folder."""
        folder = DataFolder(self.data)
        self.worker = LinkClient(
            lambda: folder.socket("link.sock"), lambda: {"slot": 0, "pid": 71, "generation": 0, "seq": 0},
            self._told, lambda up: None,
        )  # fmt: skip

    def hear(self) -> None:
        """Be the supervisor."""
        while (parcel := self.channel.receive()) is not None:
            message = parcel.message
            self.heard.append(message)
            if message["kind"] == "folder":
                DataFolder(Path(message["path"])).make()
                if self.early:
                    self.crew(self.early)
                self.channel.send("folder", error="")
            elif message["kind"] == "listen":
                self.channel.send(
                    "listen", [self.segment.fd], error=self.refuse, where={"a": "127.0.0.1:1", "@admin": "x"}, workers=2
                )

    def crew(self, *workers: list[Any]) -> None:
        self.channel.send(
            "crew", workers=list(workers), degraded=[], stopping=False, upgrading=False, seats=1, refused=0
        )

    def _told(self, message: dict[str, Any]) -> None:
        """Be the worker."""
        self.told.append(message)
        if message["kind"] == "generation" and self.answer:
            self.worker.send("ack", generation=message["number"], wanted=message["number"], error="")
        elif message["kind"] == "collect":
            counters = {"rejects_total": {"type": "counter", "labels": ["code"], "series": [[["x"], 3]]}}
            self.worker.send(
                "report", pid=71, generation=1, in_flight=4, refusal="", counters=counters, asked=message["asked"],
                explain={"u": "fine"},
            )  # fmt: skip

    async def until(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.005)


def play(
    path: Path, scene: Callable[[House], Any], fresh: bool = True, environment: Any = None, early: Any = None
) -> House:
    async def run() -> House:
        house = House(path, environment or {}, fresh)
        house.early = early or []
        asyncio.get_running_loop().add_reader(house.channel.fileno(), house.hear)
        task = asyncio.get_running_loop().create_task(house.control.run())
        try:
            await house.until(lambda: task.done() or any(m["kind"] == "ready" for m in house.heard))
            if not task.done():
                worker = asyncio.get_running_loop().create_task(house.worker.run())
                house.crew([0, 71, True, False, 0])
                await house.until(lambda: house.control.acknowledged.get(0, (0, 0)) > (0, 0))
                await scene(house)
                worker.cancel()
                house.worker.close()
                house.channel.send("stop")
            assert await asyncio.wait_for(task, 10) == 0
        finally:
            asyncio.get_running_loop().remove_reader(house.channel.fileno())
            os.close(house.segment.fd)
        return house

    return asyncio.run(run())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


async def nothing(house: House) -> None:
    pass


def test_a_start_asks_for_the_folder_then_for_sockets_then_has_the_generation_served(folder: Path) -> None:
    house = play(folder, nothing)
    kinds = [m["kind"] for m in house.heard if m["kind"] != "alive"]
    assert kinds[:4] == ["folder", "listen", "serve", "ready"]
    assert house.heard[0]["path"] == str(folder / "tidegate-data")
    listen = house.heard[1]
    assert (listen["listeners"], listen["admin"]) == ([["127.0.0.1:0", "127.0.0.1", 0, "http"]], None)
    assert next(m for m in house.heard if m["kind"] == "serve") == {"kind": "serve", "generation": 1, "drain": 3.0}
    assert {m["kind"] for m in house.told} >= {"generation", "slots", "addresses"}


def test_a_bad_config_ends_a_start_with_78_and_every_problem(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG + "nonsense: 1\nmore: 2\n")
    with pytest.raises(CannotStart) as refused:
        play(tmp_path, nothing)
    assert refused.value.code == 78
    assert "c.yaml:7: nonsense" in str(refused.value) and "c.yaml:8: more" in str(refused.value)


def test_what_is_unwise_in_a_config_is_said_once_on_the_program_log(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """CF-env-missing: a secret that everybody can read."""
    secret = folder / "secret"
    secret.write_text("a-key-of-somebody")
    secret.chmod(0o644)
    config = CONFIG + 'consumers: [{name: c, keys: ["${file:secret}"]}]\n'
    (folder / "c.yaml").write_text(config)

    async def scene(house: House) -> None:
        (folder / "c.yaml").write_text(config.replace("204", "205"))
        assert (await house.control.reload("test")).result == "applied"

    play(folder, scene)
    said = capfd.readouterr().err
    assert said.count("can be read by every user of this machine") == 1
    assert "warning: " in said and "a-key-of-somebody" not in said


def test_an_address_that_cannot_be_opened_ends_a_start_with_1(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(House, "refuse", "cannot listen on x", raising=False)
    original = House.__init__

    def refusing(self: House, *arguments: Any) -> None:
        original(self, *arguments)
        self.refuse = "cannot listen on x"

    monkeypatch.setattr(House, "__init__", refusing)
    with pytest.raises(CannotStart, match="cannot listen on x") as refused:
        play(folder, nothing)
    assert refused.value.code == 1
    assert not list((folder / "tidegate-data" / "plans").iterdir())


def test_a_weak_token_in_front_of_an_open_address_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG + "admin: {address: '0.0.0.0:0', token: changemechangeme}\n")
    with pytest.raises(CannotStart) as refused:
        play(tmp_path, nothing)
    assert "too weak" in str(refused.value) and "changeme" not in str(refused.value)


def test_a_restart_with_a_broken_config_goes_on_with_the_last_good_generation(folder: Path) -> None:
    play(folder, nothing)
    (folder / "c.yaml").write_text("broken: [")

    async def scene(house: House) -> None:
        assert house.control.generations.number == 1
        document = await house.control.status()
        assert "c.yaml:2: did not find" in document["config_error"]["error"]
        assert document["open_routes"] == ["hello"]

    house = play(folder, scene, fresh=False)
    assert next(m for m in house.heard if m["kind"] == "serve")["generation"] == 1


def test_a_restart_waits_for_the_money_of_a_crew_it_heard_of_before_it_kept_books(folder: Path) -> None:
    play(folder, nothing)

    async def scene(house: House) -> None:
        assert house.control.money is not None
        assert house.control.money.pids == {70: True}
        usage = await house.control.usage("2026-11-21T00", "2026-11-22T00", ("model",), "")
        assert usage.rows == []

    play(folder, scene, fresh=False, early=[0, 70, True, False, 0])


def test_a_reload_answers_after_the_workers_and_a_refused_one_changes_nothing(folder: Path) -> None:
    async def scene(house: House) -> None:
        control = house.control
        (folder / "c.yaml").write_text(CONFIG.replace("204", "205"))
        outcome = await control.reload("test")
        assert (outcome.result, outcome.generation, outcome.applied, outcome.of) == ("applied", 2, 1, 1)
        assert house.told[-1]["kind"] in ("slots", "addresses", "generation")
        (folder / "c.yaml").write_text(CONFIG.replace("/hello", "no-path"))
        outcome = await control.reload("test")
        assert (outcome.result, outcome.generation) == ("refused", 2)
        assert "c.yaml:6" in outcome.error
        assert control.reloads == {"applied": 1, "partial": 0, "refused": 1}

    house = play(folder, scene)
    assert [m["keep"] for m in house.heard if m["kind"] == "release"] == [["127.0.0.1:0"]]


def test_reloads_that_come_while_one_waits_share_it(folder: Path) -> None:
    async def scene(house: House) -> None:
        (folder / "c.yaml").write_text(CONFIG.replace("204", "205"))
        outcomes = await asyncio.gather(*(house.control.reload("test") for _ in range(10)))
        assert {outcome.generation for outcome in outcomes} == {2}

    play(folder, scene)


def test_a_worker_that_does_not_answer_makes_a_reload_partial_and_is_told_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.control.control.APPLY_TIME", 0.05)

    async def scene(house: House) -> None:
        house.answer = False
        (folder / "c.yaml").write_text(CONFIG.replace("204", "205"))
        outcome = await house.control.reload("test")
        assert (outcome.result, outcome.applied, outcome.of) == ("partial", 0, 1)
        house.answer = True
        await house.until(lambda: house.control.acknowledged[0] == (2, 2))

    play(folder, scene)


def test_a_reload_of_what_is_served_already_does_nothing(folder: Path) -> None:
    os.utime(folder / "c.yaml", (1e9, 1e9))

    async def scene(house: House) -> None:
        again = await house.control.reload("test")
        assert (again.result, again.generation, again.applied, again.changed) == ("applied", 1, 1, False)

    play(folder, scene)


def test_the_data_folder_cannot_move_while_the_gateway_runs(folder: Path) -> None:
    async def scene(house: House) -> None:
        (folder / "c.yaml").write_text(CONFIG + "data: ./other\n")
        outcome = await house.control.reload("test")
        assert outcome.result == "refused" and "stays" in outcome.error

    play(folder, scene)


def test_metrics_and_status_are_collected_when_asked_for(folder: Path) -> None:
    async def scene(house: House) -> None:
        text = await house.control.metrics_text()
        assert 'tidegate_rejects_total{code="x"} 3\n' in text
        assert "tidegate_config_generation 1\n" in text
        document = await house.control.status()
        assert document["upstreams"] == {"u": {"0": "fine"}}
        assert document["workers"][0]["in_flight"] == 4
        house.crew()
        await house.until(lambda: not house.control.book.workers)
        assert 'tidegate_rejects_total{code="x"} 3\n' in house.control.metrics.text({})

    play(folder, scene)


def test_limits_are_asked_and_answered_over_the_link(folder: Path) -> None:
    async def scene(house: House) -> None:
        item = [1, "policy", "tenant", "rate", 100, 1_000_000_000, 100, "", "UTC", 1, 1, 0, 0]
        house.worker.send("want", items=[item])
        await house.until(lambda: any(m["kind"] == "grant" for m in house.told))
        grant = next(m for m in house.told if m["kind"] == "grant")
        number, partition, _, count, *_ = grant["items"][0]
        assert (number, partition) == (1, "tenant") and count >= 1

    play(folder, scene)


def test_when_the_supervisor_dies_control_leaves_at_once_for_another_may_start(folder: Path) -> None:
    async def run() -> None:
        house = House(folder, {})
        loop = asyncio.get_running_loop()
        loop.add_reader(house.channel.fileno(), house.hear)
        task = loop.create_task(house.control.run())
        await house.until(lambda: any(m["kind"] == "ready" for m in house.heard))
        worker = loop.create_task(house.worker.run())
        await house.until(lambda: 0 in house.control.acknowledged)
        loop.remove_reader(house.channel.fileno())
        house.channel.close()
        assert await asyncio.wait_for(task, 5) == 0
        assert house.control.readiness().ready is False
        worker.cancel()
        house.worker.close()

    asyncio.run(run())


# -- after the death of another control -------------------------------------------------------------------------------


def test_limits_are_answered_after_a_restart_before_the_config_has_been_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLM 10.1: a worker whose lease is empty waits a second; a config may take longer than that to be read."""
    play(folder, nothing)
    answered = threading.Event()
    read = Generations.check

    def slow(self: Generations) -> Any:
        assert answered.wait(10), "the config was read first"
        return read(self)

    monkeypatch.setattr(Generations, "check", slow)

    async def run() -> None:
        house = House(folder, {}, fresh=False)
        loop = asyncio.get_running_loop()
        loop.add_reader(house.channel.fileno(), house.hear)
        task = loop.create_task(house.control.run())
        worker = loop.create_task(house.worker.run())
        await house.until(lambda: house.worker.connection is not None)
        item = [1, "policy", "tenant", "rate", 100, 1_000_000_000, 100, "", "UTC", 1, 1, 0, 0]
        house.worker.send("want", items=[item])
        await house.until(lambda: any(m["kind"] == "grant" for m in house.told))
        assert {m["kind"] for m in house.told} & {"generation", "slots", "addresses"} == set()
        answered.set()
        await house.until(lambda: any(m["kind"] == "addresses" for m in house.told))
        assert next(m for m in house.told if m["kind"] == "generation")["number"] == 1
        await house.until(lambda: any(m["kind"] == "ready" for m in house.heard))
        worker.cancel()
        house.worker.close()
        house.channel.send("stop")
        assert await asyncio.wait_for(task, 10) == 0
        loop.remove_reader(house.channel.fileno())

    asyncio.run(run())


def test_a_restart_whose_config_names_an_address_that_is_taken_goes_on_with_the_last_good_generation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(folder, nothing)
    (folder / "c.yaml").write_text(CONFIG.replace("204", "205"))
    hear = House.hear

    def refusing(self: House) -> None:
        self.refuse = "cannot listen on x" if any(m["kind"] == "listen" for m in self.heard) else ""
        hear(self)

    monkeypatch.setattr(House, "hear", refusing)

    async def scene(house: House) -> None:
        assert house.control.generations.number == 1
        document = await house.control.status()
        assert document["config_error"]["error"] == "cannot listen on x"

    play(folder, scene, fresh=False)


def test_a_restart_with_neither_a_config_nor_a_generation_ends_with_78(folder: Path) -> None:
    DataFolder(folder / "tidegate-data").make()
    (folder / "c.yaml").write_text("broken: [")
    with pytest.raises(CannotStart, match="no generation") as refused:
        play(folder, nothing, fresh=False)
    assert refused.value.code == 78


def test_what_only_reading_a_config_needs_is_not_loaded_to_answer_for_limits_and_money() -> None:
    """A restarted control loads what it answers with; the rest takes longer than all of that."""
    heavy = "{'tidegate.assembly.check', 'cryptography', 'watchfiles', 'fastapi'}"
    code = f"import sys, tidegate.control.control; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stdout + done.stderr
