"""The supervisor's line to a child: messages keep their bounds, descriptors travel, an end is noticed."""

from __future__ import annotations

import os

import pytest

from tidegate.control.channel import LONGEST, pair


def test_messages_arrive_one_by_one_and_none_is_none() -> None:
    ours, theirs = pair()
    assert ours.send("one", number=1)
    assert ours.send("two")
    first, second = theirs.receive(), theirs.receive()
    assert first is not None and first.message == {"kind": "one", "number": 1}
    assert second is not None and second.message == {"kind": "two"}
    assert theirs.receive() is None


def test_descriptors_come_with_the_message_that_names_them_and_stay_out_of_children() -> None:
    ours, theirs = pair()
    reading, writing = os.pipe()
    assert ours.send("sockets", [writing], names=["a"])
    parcel = theirs.receive()
    assert parcel is not None and len(parcel.fds) == 1
    assert not os.get_inheritable(parcel.fds[0])
    os.write(parcel.fds[0], b"through")
    assert os.read(reading, 100) == b"through"


def test_the_end_of_the_peer_is_heard_after_what_it_said() -> None:
    ours, theirs = pair()
    ours.send("last")
    ours.close()
    parcel = theirs.receive()
    assert parcel is not None and parcel.message["kind"] == "last"
    with pytest.raises(EOFError):
        theirs.receive()
    assert theirs.send("too late") is False


def test_what_is_no_message_is_skipped() -> None:
    ours, theirs = pair()
    ours.end.send(b"\xc1")
    ours.end.send(b"\x81\xa4kind\x01")
    ours.send("good")
    parcel = theirs.receive()
    assert parcel is not None and parcel.message == {"kind": "good"}


def test_a_message_past_the_bound_is_a_mistake_of_ours() -> None:
    ours, _ = pair()
    with pytest.raises(ValueError, match="too large"):
        ours.send("big", body="x" * LONGEST)
