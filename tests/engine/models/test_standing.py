"""What a worker remembers of targets (LLM 9)."""

from __future__ import annotations

import pytest

from tidegate.engine.models.standing import TARGETS, Figures, ModelStates
from tidegate.exchange.chat import Usage


def test_figures_are_moving_averages_that_begin_with_the_first_call() -> None:
    f = Figures()
    f.answered(0.5, 2.5, Usage(input=100, output=200, cache_read=50))
    assert (f.ttft, f.rate, f.cached_share) == (0.5, 100.0, pytest.approx(0.1))
    f.answered(1.0, 1.0, None)
    assert f.ttft == pytest.approx(0.6)
    assert f.rate == 100.0


def test_who_is_busy_is_counted_and_forgotten() -> None:
    states = ModelStates()
    states.enter("p")
    states.enter("p")
    states.leave("p")
    assert states.explain(0.0)["in_flight"] == {"p": 1}
    states.leave("p")
    assert states.busy == {}


def test_targets_nobody_calls_are_forgotten_when_there_are_too_many() -> None:
    states = ModelStates()
    states.of("busy").in_flight = 1
    for number in range(TARGETS):
        states.of(str(number))
    assert len(states.figures) < TARGETS and states.of("busy").in_flight == 1
