from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.wire.multipart import HELD, FieldFinder, FieldWatch, boundary_of

HEAD = b'--B\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
FILE = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
FORM = HEAD % (b"language", b"en") + HEAD % (b"model", b"whisper-1") + FILE + b"RIFF\r\n--Bx\r\n--B--\r\n"


def test_the_field_is_found_however_the_bytes_are_cut() -> None:
    for cut in range(len(FORM) + 1):
        finder = FieldFinder(b"B", "model")
        if not finder.feed(FORM[:cut]):
            assert finder.feed(FORM[cut:])
            rest = b""
        else:
            rest = FORM[cut:]
        assert finder.value == "whisper-1"
        assert finder.rewritten("w") + rest == FORM.replace(b"whisper-1", b"w")
    finder = FieldFinder(b"B", "model")
    assert any(finder.feed(bytes([byte])) for byte in FORM)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"models", b"x"]), st.binary(max_size=30)), max_size=5))
def test_other_fields_before_it_are_passed(fields: list[tuple[bytes, bytes]]) -> None:
    fields = [(name, value) for name, value in fields if b"--B" not in value]
    body = b"".join(HEAD % field for field in fields) + HEAD % (b"model", b"m") + b"--B--\r\n"
    finder = FieldFinder(b"B", "model")
    assert finder.feed(body)
    assert finder.value == "m"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"nonsense that is no form", "does not begin with its boundary"),
        (HEAD % (b"a", b"b") + b"--B--\r\n", "has no field model"),
        (b"--B\r\nX: " + b"x" * 9000, "too large"),
        (HEAD % (b"model", b"m" * 2000), "too long"),
        (FILE + b"x" * HELD, "must come before the file"),
        (b"--Bx\r\n\r\n", "line end"),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(Fault) as caught:
        FieldFinder(b"B", "model").feed(body)
    assert caught.value.code == "invalid_request"
    assert words in caught.value.detail


@pytest.mark.parametrize(
    ("field", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
    ],
)
def test_the_boundary_stands_in_the_content_type(field: str, boundary: bytes) -> None:
    assert boundary_of(field) == boundary


@pytest.mark.parametrize("field", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=a"])
def test_a_body_without_one_is_no_form(field: str) -> None:
    with pytest.raises(Fault, match="invalid_request"):
        boundary_of(field)


TWICE = [
    HEAD % (b"model", b"dear"),
    b'--B\r\ncontent-disposition: form-data; filename="x"; NAME = model\r\n\r\ndear\r\n',
    b'--B\ncontent-disposition: form-data;\n name="mo\\del"\n\ndear\n',
    b"--B \r\nContent-Disposition: form-data; name*=utf-8''mod%65l\r\n\r\ndear\r\n",
]


@pytest.mark.parametrize("second", TWICE)
def test_a_second_field_of_the_name_is_refused_wherever_it_stands_and_however_it_is_cut(second: bytes) -> None:
    first = HEAD % (b"model", b"cheap")
    for form in (first + FILE + b"RIFF\r\n" + second + b"--B--\r\n", second + first + FILE + b"RIFF\r\n--B--\r\n"):
        for cut in range(len(form)):
            watch = FieldWatch(b"B", "model")
            with pytest.raises(Fault, match="twice"):
                for piece in (form[:cut], form[cut:]):
                    watch.feed(piece)
        watch = FieldWatch(b"B", "model")
        with pytest.raises(Fault, match="twice"):
            for byte in form:
                watch.feed(bytes([byte]))


def test_what_only_looks_like_a_second_field_passes() -> None:
    inside = b'model\r\n--Bx\r\ncontent-disposition: form-data; name="model"\r\n\r\n\n\n'
    form = HEAD % (b"empty", b"") + FORM.replace(b"RIFF", inside) + HEAD % (b"model", b"behind the end")
    for size in (1, 7, len(form)):
        watch = FieldWatch(b"B", "model")
        for at in range(0, len(form), size):
            watch.feed(form[at : at + size])
