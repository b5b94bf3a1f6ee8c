import pytest

from tidegate.rules.slow_start import factor


@pytest.mark.parametrize(
    ("elapsed", "aggression", "expected"),
    [(-1, 1, 0.1), (0, 1, 0.1), (0.5, 1, 0.1), (1, 1, 0.1), (5, 1, 0.5), (9, 1, 0.9), (10, 1, 1.0), (99, 1, 1.0),
     (2.5, 2, 0.5), (5, 0.5, 0.25)],
)  # fmt: skip
def test_the_share_follows_the_curve_of_s12_9(elapsed: float, aggression: float, expected: float) -> None:
    assert factor(elapsed, 10.0, aggression, 0.10) == pytest.approx(expected)


def test_a_window_of_zero_is_no_slow_start() -> None:
    assert factor(0.0, 0.0) == 1.0
