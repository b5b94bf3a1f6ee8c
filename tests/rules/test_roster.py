from balancer_fakes import pool
from tidegate.ports.balancer import Endpoint
from tidegate.rules.roster import Roster


def test_members_stay_while_they_cannot_be_used() -> None:
    roster: Roster[Endpoint] = Roster()
    endpoints = pool(1, 1, 1)
    assert roster.look(endpoints[1:]) is True
    assert roster.look(endpoints[:1]) is True
    assert [e.host for e in roster.members] == ["a", "b", "c"]
    assert roster.usable == {"a:80"}
    assert roster.version == 2


def test_the_same_sequence_costs_nothing_and_a_known_one_changes_no_member() -> None:
    roster: Roster[Endpoint] = Roster()
    endpoints = pool(1, 1)
    roster.look(endpoints)
    assert roster.look(endpoints) is False
    assert roster.look(endpoints[:1]) is True
    assert roster.version == 1


def test_those_long_gone_are_dropped() -> None:
    roster: Roster[Endpoint] = Roster()
    for n in range(500):
        roster.look((Endpoint("p", "http", f"h{n}", 80),))
    assert len(roster.members) <= 2 + 64
