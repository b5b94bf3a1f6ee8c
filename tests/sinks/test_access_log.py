"""JSON lines that cannot be forged, block nobody and fill no disk (S26.11, S26.12)."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fakes import FakeTools
from tidegate.exchange.record import Record
from tidegate.sinks import access_log
from tidegate.sinks.access_log import LINE_AT_MOST, WAITING_AT_MOST, AccessLog, Config, encode


def record(**settings: Any) -> Record:
    return Record(**{"ts": 1.5, "request_id": "r", "method": "GET", "host": "h", "path": "/", "status": 200,
                     "duration_us": 9} | settings)  # fmt: skip


def build(folder: Path, **settings: Any) -> tuple[AccessLog, FakeTools]:
    tools = FakeTools(config_folder=folder, data_folder=folder)
    return AccessLog(Config.model_validate(settings), tools), tools


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


# -- lines ----------------------------------------------------------------------------------------------------------


def test_a_record_is_one_line_without_what_is_not_set() -> None:
    assert encode([record()]) == (
        b'{"ts":1.5,"request_id":"r","method":"GET","host":"h","path":"/","status":200,"duration_us":9}\n'
    )


def test_control_characters_are_escaped_s26_11() -> None:
    line = encode([record(user_agent="a\r\n\x1b[31m\x7f\x9b\x85\u2028\xe9")])
    assert json.loads(line)["user_agent"] == "a\r\n\x1b[31m\x7f\x9b\x85\u2028\xe9"
    assert b'"a\\r\\n\\u001b[31m\\u007f\\u009b\\u0085\\u2028\xc3\xa9"' in line


def test_a_line_has_at_most_4_kib_and_its_neighbours_are_untouched_s26_11() -> None:
    long = record(path="/" + "a" * 3000, user_agent="b" * 2000, consumer="c" * 9000, code="forbidden")
    written = encode([record(), long, record(status=404)]).split(b"\n")
    assert [json.loads(line)["status"] for line in written[:3]] == [200, 200, 404]
    assert len(written[1]) < LINE_AT_MOST
    kept = json.loads(written[1])
    assert (kept["path"], kept["code"]) == ("/" + "a" * 511, "forbidden")


def test_half_a_character_costs_nobody_a_line() -> None:
    made = encode([record(), record(consumer="a\ud800\xe9")]).splitlines()
    assert (len(made), json.loads(made[1])["consumer"]) == (2, "a?\xe9")


@given(st.lists(st.text(st.characters(), max_size=2000), min_size=4, max_size=4))
def test_whatever_texts_say_lines_stay_lines(texts: list[str]) -> None:
    host, path, agent, consumer = texts
    made = encode([record(host=host, path=path, user_agent=agent, consumer=consumer)] * 2)
    assert made.count(b"\n") == 2 == len(made.decode().splitlines())
    assert all(len(line) <= LINE_AT_MOST for line in made.splitlines(keepends=True))
    assert json.loads(made.splitlines()[0])["status"] == 200


# -- the file -------------------------------------------------------------------------------------------------------


def test_lines_arrive_in_order_in_the_data_folder(tmp_path: Path) -> None:
    log, _ = build(tmp_path)
    for number in range(200):
        log.write(record(status=number))
    log.close()
    assert [line["status"] for line in lines(tmp_path / "logs" / "access.log")] == list(range(200))
    assert (tmp_path / "logs" / "access.log").stat().st_mode & 0o777 == 0o600


def test_nothing_is_opened_before_something_is_written(tmp_path: Path) -> None:
    log, _ = build(tmp_path, file="a.log")
    log.flush()
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_file_is_put_aside_and_the_oldest_is_deleted(tmp_path: Path) -> None:
    file = access_log._File(tmp_path / "a.log", 10, 0, 2)
    for number in range(4):
        file.write(b"line number %d\n" % number)
    file.close()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "a.log": b"line number 3\n", "a.log.1": b"line number 2\n", "a.log.2": b"line number 1\n",
    }  # fmt: skip


def test_without_keeping_a_full_file_is_deleted(tmp_path: Path) -> None:
    file = access_log._File(tmp_path / "a.log", 10, 0, 0)
    file.write(b"line number 0\n")
    file.write(b"line number 1\n")
    file.close()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"line number 1\n"]


def test_two_workers_put_a_full_file_aside_once(tmp_path: Path) -> None:
    one, two = (access_log._File(tmp_path / "a.log", 10, 0, 3) for _ in range(2))
    one.write(b"from one, first\n")
    two.write(b"from two\n")
    one.write(b"from one\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.log", "a.log.1"]
    assert (tmp_path / "a.log").read_bytes() == b"from two\nfrom one\n"
    one.close()
    two.close()


def test_a_file_that_an_operator_moved_is_opened_anew(tmp_path: Path) -> None:
    file = access_log._File(tmp_path / "a.log", 1000, 0, 3)
    file.write(b"before\n")
    (tmp_path / "a.log").rename(tmp_path / "moved")
    file.write(b"after\n")
    file.close()
    assert (tmp_path / "a.log").read_bytes() == b"after\n"


def test_a_file_of_an_earlier_hour_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"old\n")
    os.utime(path, (7200, 7200))
    file = access_log._File(path, 1000, 3600, 3)
    file.write(b"new\n")
    file.close()
    assert (path.read_bytes(), (tmp_path / "a.log.1").read_bytes()) == (b"new\n", b"old\n")


def test_a_torn_line_ends_before_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = access_log._File(tmp_path / "a.log", 1000, 0, 3)
    real, calls = os.write, iter([3])

    def short(descriptor: int, data: bytes) -> int:
        size = next(calls, None)
        if size is None:
            raise OSError(28, "No space left on device")
        return real(descriptor, bytes(data)[:size])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            file.write(b"torn line\n")
    file.write(b"whole line\n")
    file.close()
    assert (tmp_path / "a.log").read_bytes() == b"tor\nwhole line\n"


# -- trouble --------------------------------------------------------------------------------------------------------


class Place:
    """A place in the test's hand: it may hang or fail."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failure: OSError | None = None
        self.written = b""

    def write(self, data: bytes) -> None:
        self.entered.set()
        self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        self.written += data

    def close(self) -> None:
        pass


@pytest.fixture
def stage(tmp_path: Path) -> tuple[AccessLog, FakeTools, Place]:
    log, tools = build(tmp_path)
    place = Place()
    log._place = place
    return log, tools, place


Stage = tuple[AccessLog, FakeTools, Place]


def test_a_hanging_disk_drops_and_counts_and_blocks_nobody_s26_12(stage: Stage) -> None:
    log, tools, place = stage
    place.gate.clear()
    log.write(record())
    log.flush()
    assert place.entered.wait(10)
    for _ in range(WAITING_AT_MOST + 5):
        log.write(record())
    log.flush()
    assert tools.count("records_dropped_total", sink="access_log") == 6
    place.gate.set()
    log.close()
    assert place.written.count(b"\n") == WAITING_AT_MOST
    log.write(record())
    assert tools.count("records_dropped_total", sink="access_log") == 6


def test_a_full_disk_loses_lines_counts_them_and_says_so_once_a_flush(stage: Stage) -> None:
    log, tools, place = stage
    place.failure = OSError(28, "No space left on device")
    for _ in range(3):
        log.write(record())
    log.close()
    assert tools.count("records_dropped_total", sink="access_log") == 3
    assert tools.lines == [
        ("error", "access log cannot be written", {"reason": "No space left on device", "lost": 3})
    ]  # fmt: skip


def test_an_error_storm_is_sampled_and_successes_are_not_s26_12(stage: Stage) -> None:
    log, tools, place = stage
    for _ in range(1500):
        log.write(record(status=429, code="rate_limited"))
        log.write(record())
    log.write(record(status=429, code="rate_limited", ts=2.5))
    log.close()
    written = [json.loads(line) for line in place.written.splitlines()]
    assert sum(line["status"] == 429 for line in written) == 1000 + 5 + 1
    assert sum(line["status"] == 200 for line in written) == 1500
    assert tools.count("records_sampled_total", sink="access_log") == 495


def test_a_pipe_gets_all_of_it_even_when_it_does_not_block() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sent = b"x" * 300_000
    got: list[bytes] = []

    def drain() -> None:
        while data := os.read(reader, 65536):
            got.append(data)

    thread = threading.Thread(target=drain)
    thread.start()
    access_log._Stream(writer).write(sent)
    os.close(writer)
    thread.join(10)
    os.close(reader)
    assert b"".join(got) == sent


@pytest.mark.parametrize(
    "settings", [{"file": "a", "stdout": True}, {"max_size": "1KiB"}, {"keep": -1}, {"every": "week"}, {"path": "a"}]
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)


def test_a_path_is_relative_to_the_config(tmp_path: Path) -> None:
    log, _ = build(tmp_path, file="deep/er/a.log")
    log.write(record())
    log.close()
    assert len(lines(tmp_path / "deep" / "er" / "a.log")) == 1
