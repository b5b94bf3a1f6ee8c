"""What goes to the scripts comes back from them; a server is named by its url."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tidegate.exchange.context_log import Asker, Draft, Payload
from tidegate.repositories._valkey_records import draft_words, entry_of, meta_of, payloads_of, read_url
from tidegate.repositories.valkey import Config


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("redis://host", (False, None, None, (("host", 6379),), 0)),
        ("rediss://us%40er:p%3Aw@host:6380/3", (True, "us@er", "p:w", (("host", 6380),), 3)),
        ("redis://:pw@a:1,b,[::1]:3/0", (False, None, "pw", (("a", 1), ("b", 6379), ("::1", 3)), 0)),
    ],
)
def test_a_server_is_named_by_its_url(url: str, read: tuple[object, ...]) -> None:
    assert tuple(read_url(url)) == read


@pytest.mark.parametrize("url", ["", "host:6379", "http://host", "redis://", "redis://host/x", "redis://:6379"])
def test_what_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Config(url=url)


def test_a_content_is_read_as_it_was_written() -> None:
    laid = (Payload("doc", 3, b"n" * 16, b"\x00 body\n", b"k" * 300), Payload("state", 0, b"", b""))
    words = draft_words(Draft(b"body", laid))
    assert words[:2] == [b"body", 2]
    flat = [b"doc 3 7", words[4], b"state 0 7", words[7]]
    assert payloads_of(flat) == (Payload("doc", 3, b"n" * 16, b"\x00 body\n", b"k" * 300, 7),
                                 Payload("state", 0, b"", b"", b"", 7))  # fmt: skip


def test_an_entry_is_a_line_of_what_the_store_decided_and_a_body() -> None:
    entry = entry_of(4, b"delta cv_2 cv_1,cv_0 main completed - 0aff 1700000000000 doc:0\nbo\ndy")
    assert (entry.seq, entry.kind, entry.version, entry.parents) == (4, "delta", "cv_2", ("cv_1", "cv_0"))
    assert (entry.branch, entry.status, entry.fp, entry.digest) == ("main", "completed", b"", b"\x0a\xff")
    assert (entry.ts, entry.body) == (1_700_000_000_000, b"bo\ndy")


@pytest.mark.parametrize("line", [b"", b"delta", b"a b c d e f g h i\n", b"delta v - main completed 0 0 x -\n"])
def test_a_line_that_is_torn_is_told_apart(line: bytes) -> None:  # I8
    with pytest.raises((ValueError, LookupError)):
        entry_of(1, line)


def test_names_are_shown_to_whom_they_belong() -> None:
    facts = {"subject": "ann", "group": "", "access": "tenant", "privacy": "internal", "salt": "s", "dek": "",
             "seq": "2", "gen": "0", "created": "1", "expires": "0", "ttl": "0", "sliding": "1", "size": "9",
             "about": "", "r:side": "cv_1 - - 2 0 0", "r:main": "cv_1 cv_2 ff 3 99 5", "o:main": "w"}  # fmt: skip
    state = [part.encode() for pair in facts.items() for part in pair]
    names = [b"ann\0lesson", b"bob\0other"]
    assert meta_of(Asker("t", "ann"), "ctx_1", state, names).names == ("lesson",)
    whole = meta_of(Asker("t", all=True), "ctx_1", state, names)
    assert whole.names == ("lesson", "other")
    assert [(ref.branch, ref.head, ref.pending, ref.fence, ref.lease_until) for ref in whole.refs] == [
        ("main", "cv_1", "cv_2", 3, 99), ("side", "cv_1", "", 2, 0),
    ]  # fmt: skip
