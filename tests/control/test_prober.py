"""The prober: sequences of results, and the whole of it against real sockets (S12.2, S12.3, S12.5)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.control.prober import STATES, Check, Prober
from tidegate.engine.segment import DOWN, HEALTH, UNKNOWN, UP, Row, Segment, SlotTable, endpoint_key, health_parts
from tidegate.ports.plan import HealthPlan, TargetPlan, UpstreamTlsPlan


def states(results: str, fall: int = 3, rise: int = 2) -> str:
    """The state after each of *results* (P or F): u for up, d for down."""
    check = Check(fall, rise, 0.0)
    out = ""
    for second, result in enumerate(results):
        check.take(result == "P", float(second))
        out += STATES[check.state][0]
    return out


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("PFFPFFF", "uuuuuud"),
        ("P", "u"),
        ("F", "d"),
        ("FPP", "ddu"),
        ("FPFPFPP", "ddddddu"),
        ("PFFFPFPP", "uuudddd" + "u"),
        ("PFFPFFPFFP", "u" * 10),
    ],
)
def test_three_failures_or_two_passes_in_a_row_turn_it_and_the_first_decides_s12_2(results: str, expected: str) -> None:
    assert states(results) == expected


@given(st.text("PF", max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_a_change_needs_its_row_of_equal_results(results: str, fall: int, rise: int) -> None:
    found = states(results, fall, rise)
    for place in range(1, len(found)):
        if found[place] != found[place - 1]:
            length = rise if found[place] == "u" else fall
            assert results[place - length + 1 : place + 1] == ("P" if found[place] == "u" else "F") * length


def test_the_word_says_state_since_run_and_passes() -> None:
    check = Check(3, 2, 5.0)
    assert health_parts(check.word()) == (UNKNOWN, 5.0, 0, 0)
    for second, passed in enumerate([True, True, False], start=6):
        check.take(passed, float(second))
    assert health_parts(check.word()) == (UP, 6.0, 1, 2)
    other = Check(3, 2, 100.0)
    other.resume(check.word())
    assert (other.state, other.since, other.run, other.passes) == (UP, 6.0, 1, 2)


@dataclass
class Settings:
    targets: tuple[TargetPlan, ...]
    health: HealthPlan | None = field(default_factory=lambda: HealthPlan(interval=0.02, timeout=0.5))
    tls: UpstreamTlsPlan = field(default_factory=UpstreamTlsPlan)


class Origin:
    """A server that answers each probe with ``status`` and counts them."""

    def __init__(self) -> None:
        self.status = 200
        self.probes = 0
        self.port = 0
        self.server: asyncio.Server | None = None

    async def start(self) -> Origin:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.probes += 1
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % self.status)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Node:
    """A prober over a local segment, with the slots of its endpoints."""

    def __init__(self, segment: Segment | None = None) -> None:
        self.segment = segment or Segment.local(1, 8, 2, 8)
        self.slots = SlotTable(8)
        self.row: Row = self.segment.row(self.segment.control)
        self.prober = Prober(self.row, draw=lambda: 0.5)

    def apply(self, ports: list[int], **settings: object) -> None:
        targets = tuple(TargetPlan("http", "127.0.0.1", port) for port in ports)
        keys = [endpoint_key("orders", f"127.0.0.1:{port}") for port in ports]
        self.slots.assign(keys)
        self.prober.apply({"orders": Settings(targets, **settings)}, {}, self.slots)  # type: ignore[arg-type]

    def state(self, slot: int) -> int:
        return health_parts(self.row.words[self.row.base + self.row.endpoint(slot) + HEALTH])[0]

    async def until(self, slot: int, state: int) -> None:
        async with asyncio.timeout(10):
            while self.state(slot) != state:
                await asyncio.sleep(0.005)


def test_an_origin_goes_down_and_up_as_the_segment_says_s12_2() -> None:
    async def main() -> None:
        origin, node = await Origin().start(), Node()
        dead = await Origin().start()
        assert dead.server is not None
        dead.server.close()
        await dead.server.wait_closed()
        node.apply([origin.port, dead.port])
        assert not node.prober.first_round_done()
        await node.until(0, UP)
        await node.until(1, DOWN)
        assert node.prober.first_round_done()
        origin.status = 500
        await node.until(0, DOWN)
        assert node.prober.counts["orders", "status"] >= 3
        origin.status = 200
        await node.until(0, UP)
        assert node.prober.counts["orders", "passed"] >= 3
        assert node.prober.counts["orders", "refused"] >= 1
        assert [one["last"] for one in node.prober.explain()] == ["passed", "refused"]
        assert node.segment.heartbeats()[1] > 0
        node.prober.close()

    asyncio.run(main())


def test_a_reload_keeps_what_is_known_and_stops_what_is_gone_s12_1() -> None:
    async def main() -> None:
        first, second, node = await Origin().start(), await Origin().start(), Node()
        node.apply([first.port, second.port])
        await node.until(0, UP)
        await node.until(1, UP)
        same = node.prober.checked[endpoint_key("orders", f"127.0.0.1:{first.port}")]
        node.apply([first.port])
        assert list(node.prober.checked.values()) == [same]
        seen = second.probes
        node.apply([first.port], health=HealthPlan(interval=0.02, timeout=0.5, path="/other"))
        (changed,) = node.prober.checked.values()
        assert changed is not same and changed.check.state == UP
        await asyncio.sleep(0.1)
        assert second.probes <= seen + 1
        node.prober.apply({"orders": Settings((), None)}, {}, node.slots)
        assert node.prober.checked == {} and node.prober.first_round_done()
        node.prober.close()

    asyncio.run(main())


def test_a_new_prober_takes_up_what_the_last_one_wrote_s12_3() -> None:
    async def main() -> None:
        origin, node = await Origin().start(), Node()
        node.apply([origin.port])
        await node.until(0, UP)
        node.prober.close()
        again = Node(node.segment)
        again.apply([origin.port])
        assert again.state(0) == UP
        fresh = await Origin().start()
        again.apply([origin.port, fresh.port])
        assert again.state(1) == UNKNOWN
        again.prober.close()

    asyncio.run(main())


def test_every_resolved_address_is_probed_once_however_many_targets_name_it() -> None:
    async def main() -> None:
        node = Node()
        targets = (TargetPlan("http", "a.example", 80), TargetPlan("http", "a.example", 80, weight=2.0))
        plan = Settings(targets, HealthPlan(interval=30.0))
        found = {("a.example", 80): ["192.0.2.1", "192.0.2.2"]}
        addresses = {"orders": found, "same": found}
        node.prober.apply({"orders": plan, "same": replace(plan)}, addresses, node.slots)
        assert sorted(node.prober.checked) == [
            f"{name} 192.0.2.{number}:80" for name in ("orders", "same") for number in (1, 2)
        ]
        node.prober.close()

    asyncio.run(main())


def test_an_unreadable_ca_fails_every_probe_and_nothing_else() -> None:
    async def main() -> None:
        node = Node()
        plan = Settings(
            (TargetPlan("https", "127.0.0.1", 1),), HealthPlan(interval=0.02), UpstreamTlsPlan(ca="/nowhere/ca.pem")
        )
        node.slots.assign(["orders 127.0.0.1:1"])
        node.prober.apply({"orders": plan}, {}, node.slots)
        await node.until(0, DOWN)
        assert node.prober.explain()[0]["last"] == "tls"
        node.prober.close()

    asyncio.run(main())
