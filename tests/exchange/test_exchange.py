"""The exchange: edits on the way up, fields on the way down, charges and notes."""

from __future__ import annotations

from inspect import isdatadescriptor

from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.head import RequestHead


def new() -> Exchange:
    index = {"host": "api.example", "accept": "text/html, */*"}
    fields = [("host", "api.example"), ("accept", "text/html"), ("accept", "*/*")]
    return Exchange(Peer("main", "192.0.2.1", 4711), RequestHead("GET", "/a", 11, fields, index), 10.0, 1_700_000_000.0)


def test_an_exchange_begins_undecided() -> None:
    x = new()
    assert (x.method, x.started, x.wall, x.client_ip) == ("GET", 10.0, 1_700_000_000.0, "192.0.2.1")
    assert (x.identity, x.body, x.captures, x.priority, x.status, x.end) == (None, None, {}, 2, 0, "complete")
    assert (x.added, x.dropped, x.answer_fields, x.refunds, x.releases, x.notes) == (None,) * 6


def test_every_attribute_is_set_from_the_start() -> None:
    """No stage has to ask whether an earlier one came by."""
    x = new()
    for thing in (x, x.peer):  # compiled, a class has no __slots__, but a descriptor for each of them all the same
        names = [name for name, value in vars(type(thing)).items() if isdatadescriptor(value)]
        assert len(names) > 10
        assert [name for name in names if not hasattr(thing, name)] == []


def test_a_field_reads_as_the_client_sent_it_until_it_is_edited() -> None:
    x = new()
    assert (x.get("accept"), x.get("x-trace")) == ("text/html, */*", None)
    x.set_field("accept", "application/json")
    assert x.get("accept") == "application/json"
    assert x.head.index["accept"] == "text/html, */*"


def test_set_field_replaces_what_the_client_sent_and_what_a_filter_added() -> None:
    x = new()
    x.add_field("x-team", "one")
    x.set_field("x-team", "two")
    assert (x.added, x.dropped) == ([("x-team", "two")], {"x-team"})


def test_add_field_keeps_what_the_client_sent() -> None:
    x = new()
    x.add_field("accept", "image/png")
    x.add_field("accept", "image/gif")
    assert (x.added, x.dropped) == ([("accept", "image/png"), ("accept", "image/gif")], None)
    assert x.get("accept") == "image/png"


def test_remove_field_hides_it_from_later_filters_and_undoes_additions() -> None:
    x = new()
    x.add_field("accept", "image/png")
    x.add_field("x-team", "one")
    x.remove_field("accept")
    assert x.get("accept") is None
    assert (x.added, x.dropped) == ([("x-team", "one")], {"accept"})


def test_a_field_removed_and_added_again_has_the_new_value() -> None:
    x = new()
    x.remove_field("accept")
    x.add_field("accept", "image/png")
    assert x.get("accept") == "image/png"


def test_answer_fields_come_in_the_order_they_were_added() -> None:
    x = new()
    x.add_answer_field("vary", "origin")
    x.add_answer_field("ratelimit", '"a";r=1')
    x.add_answer_field("vary", "accept")
    assert x.answer_fields == [("vary", "origin"), ("ratelimit", '"a";r=1'), ("vary", "accept")]


def test_s9_7_charges_and_releases_are_remembered_apart_and_not_called_yet() -> None:
    x = new()
    called: list[str] = []
    x.on_refusal(lambda: called.append("first charge"))
    x.on_refusal(lambda: called.append("second charge"))
    x.on_end(lambda: called.append("slot"))
    assert called == []
    assert x.refunds is not None and x.releases is not None
    for undo in reversed(x.refunds):
        undo()
    for release in x.releases:
        release()
    assert called == ["second charge", "first charge", "slot"]


def test_a_note_is_seen_by_the_part_that_wrote_it_alone() -> None:
    x = new()
    mine, other = object(), object()
    assert x.noted(mine) is None
    x.note(mine, 7)
    assert (x.noted(mine), x.noted(other)) == (7, None)
    x.note(mine, 8)
    assert x.noted(mine) == 8


def test_a_peer_is_its_own_socket_and_not_trusted_until_somebody_says_so() -> None:
    """S4.4"""
    peer = new().peer
    assert (peer.peer_ip, peer.socket_host, peer.peer_port, peer.local_port) == ("192.0.2.1", "192.0.2.1", 4711, 80)
    assert (peer.trusted, peer.scheme, peer.tls, peer.certificate) == (False, "http", "", b"")


def test_an_exchange_shows_no_query_and_no_field_when_printed() -> None:
    x = new()
    x.host, x.path, x.query, x.route, x.status = "api.example", "/a", "token=secret", "all", 200
    assert repr(x) == "<Exchange GET api.example/a route=all status=200>"
