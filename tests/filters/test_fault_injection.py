"""Faults on purpose (S25)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange, finish
from tidegate.exchange.exchange import Exchange, Shape
from tidegate.exchange.head import Answer
from tidegate.exchange.identity import Identity
from tidegate.filters.fault_injection import AT_ONCE, Config, FaultInjection

START = datetime.fromtimestamp(1_700_000_000, UTC)


class Stage:
    """A filter that hits every request, with its kill switch in the test's hand."""

    def __init__(self, **settings: Any) -> None:
        self.tools = FakeTools()
        self.on = True
        self.tools.faults_allowed = lambda: self.on  # type: ignore[attr-defined]
        settings = {"expires": START + timedelta(hours=1), "percent": 100, "raise_share": True} | settings
        self.filter = FaultInjection(Config.model_validate(settings), self.tools)

    def run(self, x: Exchange | None = None) -> Any:
        return finish(self.filter.on_request_head(x or exchange()))


def test_an_abort_answers_instead_of_the_upstream_and_is_marked() -> None:
    x = exchange()
    answer = Stage(abort=503).run(x)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.fields) == (503, [("content-type", "application/problem+json"), ("retry-after", "1")])
    assert json.loads(answer.body)["status"] == 503
    assert Stage(abort=500).run().fields == [("content-type", "application/problem+json")]
    assert x.fault == "abort"


def test_a_delay_waits_and_lets_the_request_go_on() -> None:
    stage, x = Stage(delay={"least": "2s"}), exchange()
    assert stage.run(x) is None
    assert (stage.tools.clock, x.fault) == (1002.0, "delay")


def test_a_range_of_delays_is_drawn_evenly_and_an_abort_comes_after_it() -> None:
    stage, x = Stage(delay={"least": "1s", "most": "3s"}, abort=500), exchange()
    stage.tools.chance = [0.0, 0.25]
    assert stage.run(x).status == 500
    assert (stage.tools.clock, x.fault) == (1001.5, "delay+abort")


def test_the_share_holds() -> None:
    stage = Stage(abort=500, percent=5, raise_share=False)
    stage.tools.chance = [0.049, 0.05, 0.5]
    assert [stage.run() is None for _ in range(3)] == [False, True, True]


def test_the_kill_switch_is_felt_by_the_next_request_s25_2() -> None:
    stage = Stage(abort=500)
    stage.on = False
    assert stage.run() is None


def test_it_ends_at_its_expiry() -> None:
    stage = Stage(abort=500, expires=START + timedelta(seconds=10))
    assert stage.run(exchange(wall=1_700_000_009.9)) is not None
    assert stage.run(exchange(wall=1_700_000_010.0)) is None


def test_an_expiry_more_than_a_day_away_is_refused_at_load() -> None:
    assert Stage(abort=500, expires=START + timedelta(hours=24)).run() is not None
    with pytest.raises(ValueError, match="more than 24 hours away"):
        Stage(abort=500, expires=START + timedelta(hours=24, seconds=1))


def test_a_restart_after_the_expiry_is_no_error() -> None:
    assert Stage(abort=500, expires=START - timedelta(days=9)).run() is None


def test_at_most_a_hundred_run_at_once_s25_2() -> None:
    stage, held = Stage(abort=500), [exchange() for _ in range(AT_ONCE)]
    assert all(stage.run(x) is not None for x in held)
    assert stage.run() is None
    assert held[0].releases is not None
    held[0].releases[0]()
    assert stage.run() is not None


def test_only_the_named_consumers_are_hit() -> None:
    stage = Stage(abort=500, consumers=["ann"])
    ann, bob = exchange(), exchange()
    ann.identity, bob.identity = Identity("ann", "jwt"), Identity("bob", "jwt")
    assert [stage.run(x) is None for x in (ann, bob, exchange())] == [False, True, True]
    assert stage.filter.reads_identity is True


def test_a_header_triggers_only_for_the_named_scope_s25_2() -> None:
    stage = Stage(abort=500, header={"name": "X-Fault", "scope": "chaos"})

    def caller(asks: bool, scopes: set[str] | None) -> Exchange:
        x = exchange(fields=[("x-fault", "1")] if asks else [])
        x.identity = None if scopes is None else Identity("ann", "jwt", scopes=frozenset(scopes))
        return x

    assert stage.run(caller(True, {"chaos"})) is not None
    assert stage.run(caller(False, {"chaos"})) is None
    assert stage.run(caller(True, {"read"})) is None
    assert stage.run(caller(True, None)) is None


def test_an_answer_is_slowed_down_and_cut_by_the_engine_s25_1() -> None:
    stage, x = Stage(cut_after=5), exchange()
    assert stage.run(x) is None
    assert (x.shape, x.fault) == (Shape(0, 5), "cut_after")
    stage, x = Stage(rate="1KiB", cut_after=0, delay={"least": "1s"}), exchange()
    assert stage.run(x) is None
    assert (x.shape, x.fault) == (Shape(1024, 0), "delay+rate+cut_after")
    stage, x = Stage(delay={"least": "1s"}), exchange()
    assert (stage.run(x), x.shape) == (None, None)


def test_a_reset_is_no_answer_at_all_s25_1() -> None:
    stage, x = Stage(reset=True, delay={"least": "2s"}), exchange()
    answer = stage.run(x)
    assert isinstance(answer, Answer)
    assert (answer.reset, stage.tools.clock, x.fault) == (True, 1002.0, "delay+reset")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"expires": None}, "valid datetime"),
        ({"expires": "2030-01-01T00:00:00"}, "timezone"),
        ({"percent": 11, "raise_share": False}, "raise_share"),
        ({"abort": None}, "at least one"),
        ({"abort": 200}, "greater than or equal to 400"),
        ({"cut_after": 5}, "no answer to slow down or to cut"),
        ({"abort": None, "reset": True, "rate": 5}, "no answer to slow down or to cut"),
        ({"abort": None, "rate": 0}, "send nothing"),
        ({"reset": True}, "not both"),
        ({"delay": {"least": "3s", "most": "2s"}}, "shorter than least"),
        ({"delay": {"least": "0s"}}, "greater than 0"),
        ({"header": {"name": "host", "scope": "s"}}, "cannot be edited"),
        ({"header": {"name": "x-f", "scope": ""}}, "at least 1"),
    ],
)
def test_unsafe_settings_are_refused_at_config_time_s25_2(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Stage(**{"abort": 500} | settings)


def test_an_expiry_must_be_written() -> None:
    with pytest.raises(ValidationError, match="expires"):
        Config.model_validate({"abort": 500})
