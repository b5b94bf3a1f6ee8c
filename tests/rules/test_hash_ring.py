from tidegate.rules.hash_ring import LEAST_POINTS, MOST_POINTS, HashRing, key_hash, most, next_probe


def test_the_ring_has_160_points_a_weight_at_least_1024_and_never_too_many_s11_5() -> None:
    assert len(HashRing([(f"e{n}", 1.0) for n in range(10)])) == 1600
    assert LEAST_POINTS <= len(HashRing([("a", 1.0), ("b", 2.0)])) <= LEAST_POINTS + 2
    assert len(HashRing([("a", 1e6), ("b", 1e6)])) <= MOST_POINTS + 2
    assert len(HashRing([("a", 0.0), ("b", 0.0)])) == LEAST_POINTS
    assert len(HashRing([])) == 0


def test_stepping_over_is_the_same_as_not_being_there() -> None:
    members = [(f"e{n}", 1.0) for n in range(8)]
    ring, smaller = HashRing(members), HashRing(members[:-1])
    left = {name for name, _ in members[:-1]}
    assert all(ring.at(key_hash(str(n)), left) == smaller.at(key_hash(str(n)), left) for n in range(2000))


def test_the_ring_goes_round() -> None:
    ring = HashRing([("a", 1.0), ("b", 1.0)])
    assert ring.at(2**64 - 1, {"a"}) == ring.at(0, {"a"}) == "a"
    assert ring.at(0, set()) is None


def test_probes_differ_by_key() -> None:
    assert len({next_probe(key_hash(str(n))) for n in range(1000)}) == 1000


def test_the_bound_is_rounded_up_s11_5() -> None:
    assert most(0, 1.0, 4.0) == 1
    assert most(7, 1.0, 4.0) == 3
    assert most(7, 2.0, 4.0) == 5
