"""S7.11 in the worker: pushed sets serve for an hour, a same set is no new version."""

from __future__ import annotations

from tidegate.assembly.worker_key_sets import WorkerKeySets

URL = "https://issuer.example/keys"
ONE, TWO = {"keys": [{"kid": "1"}]}, {"keys": [{"kid": "2"}]}


class Worker:
    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[str] = []
        self.sets = WorkerKeySets(lambda: self.now, self.sent.append)


def test_a_pushed_set_serves_for_its_life_and_not_longer() -> None:
    worker = Worker()
    assert (worker.sets.get(URL), worker.sets.version(URL)) == (None, 0)
    worker.sets.put(URL, ONE)
    worker.now += 3599
    assert worker.sets.get(URL) is ONE
    worker.now += 1
    assert worker.sets.get(URL) is None


def test_a_set_comes_with_its_age() -> None:
    worker = Worker()
    worker.sets.put(URL, ONE, age=3000)
    worker.now += 600
    assert worker.sets.get(URL) is None


def test_the_same_set_again_lives_longer_and_another_is_a_new_version() -> None:
    worker = Worker()
    worker.sets.put(URL, ONE)
    worker.now += 3000
    worker.sets.put(URL, {"keys": [{"kid": "1"}]})
    worker.now += 3000
    assert (worker.sets.get(URL), worker.sets.version(URL)) == (ONE, 1)
    worker.sets.put(URL, TWO)
    assert (worker.sets.get(URL), worker.sets.version(URL)) == (TWO, 2)


def test_a_flood_of_unknown_kids_is_one_message_a_second() -> None:
    worker = Worker()
    for number in range(1000):
        worker.sets.want(URL, f"kid{number}")
    assert worker.sent == [URL]
    worker.now += 1
    worker.sets.want(URL, "kid")
    assert worker.sent == [URL, URL]
    assert worker.sets.get(URL) is None


def test_a_new_generation_forgets_the_sets_it_does_not_name() -> None:
    worker = Worker()
    worker.sets.put(URL, ONE)
    worker.sets.keep(frozenset({URL}))
    assert worker.sets.get(URL) is ONE
    worker.sets.keep(frozenset())
    assert worker.sets.get(URL) is None
