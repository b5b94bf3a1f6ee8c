import pytest
from pydantic import ValidationError

from balancer_fakes import PoolTools, pool, sequence, tally
from tidegate.balancers.round_robin import Config, RoundRobin


def test_weights_5_1_1_give_nginx_sequence_s11_2() -> None:
    assert sequence(RoundRobin(Config(), PoolTools(0.0)), pool(5, 1, 1), 14) == "a a b a c a a a a b a c a a"


def test_idle_endpoints_of_weights_1_and_2_share_1_to_2() -> None:
    assert tally(RoundRobin(Config(), PoolTools()), pool(1, 2), 300) == {"a": 100, "b": 200}


def test_workers_start_at_different_places_s11_2() -> None:
    starts = {sequence(RoundRobin(Config(), PoolTools(draw)), pool(1, 1, 1), 1) for draw in (0.0, 0.4, 0.9)}
    assert starts == {"a", "b", "c"}


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"weights": [1]})
