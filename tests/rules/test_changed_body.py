"""Fields after a change of the body (S10.3, S20.2)."""

from __future__ import annotations

from tidegate.rules.changed_body import changed_fields, coded_fields, digest_of, weak

FIELDS = [
    ("etag", '"1"'),
    ("content-md5", "x"),
    ("digest", "sha-256=x"),
    ("content-digest", "sha-256=:old:"),
    ("accept-ranges", "bytes"),
    ("content-encoding", "gzip"),
    ("server", "s"),
]
EMPTY_256 = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"


def test_a_strong_etag_becomes_weak_and_a_weak_one_stays_s20_2() -> None:
    assert (weak('"1"'), weak('W/"1"')) == ('W/"1"', 'W/"1"')


def test_coding_drops_what_speaks_of_the_bytes() -> None:
    assert coded_fields(FIELDS) == [("etag", 'W/"1"'), ("content-encoding", "gzip"), ("server", "s")]


def test_a_change_makes_digests_again_s10_3() -> None:
    assert changed_fields(FIELDS, b"") == [("etag", 'W/"1"'), ("server", "s"), ("content-digest", EMPTY_256)]


def test_digests_are_made_by_the_algorithms_they_had() -> None:
    assert digest_of(b"", "SHA-256=:x:, md5=:y:, sha-256=:z:") == EMPTY_256
    assert digest_of(b"", "sha-512=:x:").startswith("sha-512=:z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+D")
    assert digest_of(b"", "md5=:x:") == ""
