"""The timer wheel, driven by hand."""

from tidegate.engine.clock import NEVER, SLOTS, HttpDate, Timer, Wheel
from tidegate.engine.steps import Steps


def make(now: float = 100.0) -> tuple[Wheel, list[BaseException]]:
    errors: list[BaseException] = []
    return Wheel(Steps(errors.append), now, errors.append), errors


def test_a_timer_fires_once_never_early_and_at_most_two_slots_late() -> None:
    wheel, _ = make()
    fired: list[float] = []
    now = 100.0
    timer = Timer(lambda: fired.append(now))
    wheel.set(timer, 100.105)
    while now < 100.3:
        now = round(now + 0.001, 3)
        wheel.tick(now)
    assert len(fired) == 1
    assert 100.105 <= fired[0] <= 100.126
    assert timer.when == NEVER


def test_moving_a_timer_later_delays_it_and_earlier_hastens_it() -> None:
    wheel, _ = make()
    fired: list[str] = []
    later, earlier = Timer(lambda: fired.append("later")), Timer(lambda: fired.append("earlier"))
    wheel.set(later, 100.05)
    wheel.set(later, 100.5)
    wheel.set(earlier, 100.5)
    wheel.set(earlier, 100.05)
    wheel.tick(100.2)
    assert fired == ["earlier"]
    wheel.tick(100.6)
    assert fired == ["earlier", "later"]
    wheel.tick(101.5)
    assert fired == ["earlier", "later"]


def test_a_cleared_timer_does_not_fire_and_can_be_set_again() -> None:
    wheel, _ = make()
    fired: list[int] = []
    timer = Timer(lambda: fired.append(1))
    wheel.set(timer, 100.05)
    wheel.clear(timer)
    wheel.tick(100.2)
    assert fired == []
    wheel.set(timer, 100.3)
    wheel.tick(100.4)
    assert fired == [1]


def test_a_deadline_beyond_one_turn_of_the_wheel_still_fires_on_time() -> None:
    wheel, _ = make()
    fired: list[int] = []
    timer = Timer(lambda: fired.append(1))
    far = 100.0 + SLOTS * 0.01 * 2.5
    wheel.set(timer, far)
    now = 100.0
    while now < far:
        wheel.tick(now)
        assert fired == []
        now += 0.5
    wheel.tick(far + 0.05)
    assert fired == [1]


def test_a_stall_longer_than_the_wheel_fires_what_is_due_and_keeps_the_rest() -> None:
    wheel, _ = make()
    fired: list[str] = []
    due, later = Timer(lambda: fired.append("due")), Timer(lambda: fired.append("later"))
    wheel.set(due, 101.0)
    wheel.set(later, 160.0)
    wheel.tick(150.0)
    assert fired == ["due"]
    wheel.tick(160.1)
    assert fired == ["due", "later"]


def test_an_error_in_one_callback_is_reported_and_the_others_fire() -> None:
    wheel, errors = make()
    fired: list[int] = []

    def bad() -> None:
        raise RuntimeError("boom")

    wheel.set(Timer(bad), 100.05)
    wheel.set(Timer(lambda: fired.append(1)), 100.05)
    wheel.tick(100.2)
    assert fired == [1]
    assert [str(e) for e in errors] == ["boom"]


def test_the_http_date_has_its_fixed_form() -> None:
    assert HttpDate().at(784111777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"
