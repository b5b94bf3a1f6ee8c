"""What crosses the exec of an upgrade (S23.6)."""

from __future__ import annotations

import os
import sys

import msgspec
import pytest

from tidegate.control import upgrade
from tidegate.control.upgrade import Held, HeldMember, HeldSocket


def held(lock: int, segment: int, listening: int, channel: int) -> Held:
    return Held(
        version="0.1.0",
        data="/data",
        generation=42,
        workers=2,
        lock=lock,
        segment=segment,
        sockets=[HeldSocket("127.0.0.1:80", listening, "http")],
        members=[HeldMember("worker", 0, 4711, channel, True)],
        refused=[7],
    )


def test_the_state_and_every_descriptor_come_back_and_only_the_exec_inherits_them() -> None:
    pipes = [*os.pipe(), *os.pipe()]
    sent = held(*pipes)
    fd = upgrade.put(sent)
    assert os.get_inheritable(fd)
    for each in upgrade.descriptors(sent):
        os.set_inheritable(each, True)
    assert upgrade.take(fd) == sent
    assert [os.get_inheritable(each) for each in pipes] == [False] * 4
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    for each in pipes:
        os.close(each)


def test_a_newer_program_reads_the_state_of_an_older_one_and_the_other_way_round() -> None:
    plain = msgspec.to_builtins(held(1, 2, 3, 4))
    del plain["refused"], plain["drain"]
    plain["from_the_future"] = {"x": 1}
    found = msgspec.msgpack.decode(msgspec.msgpack.encode(plain), type=Held)
    assert found.refused == [] and found.drain == 25.0 and found.generation == 42


def test_a_member_without_a_channel_has_no_descriptor() -> None:
    state = Held("0", "/d", 1, 1, 10, 11, [], [HeldMember("worker", 0, 1, -1, True)])
    assert upgrade.descriptors(state) == [10, 11]


def test_the_program_starts_again_as_it_was_started_without_what_an_upgrade_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(upgrade.RESUME, "9")
    monkeypatch.setenv("KEPT", "yes")
    environment = upgrade.environment(**{upgrade.CHECK: "/data"})
    assert upgrade.RESUME not in environment
    assert environment[upgrade.CHECK] == "/data" and environment["KEPT"] == "yes"
    assert upgrade.command() == [sys.executable, *sys.orig_argv[1:]]


def test_an_exec_that_fails_leaves_nothing_inheritable(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = [*os.pipe(), *os.pipe()]

    def refuse(*arguments: object) -> None:
        assert all(os.get_inheritable(each) for each in pipes)
        raise OSError(8, "Exec format error")

    monkeypatch.setattr(os, "execve", refuse)
    with pytest.raises(OSError, match="Exec format"):
        upgrade.become(held(*pipes))
    assert [os.get_inheritable(each) for each in pipes] == [False] * 4
    for each in pipes:
        os.close(each)
