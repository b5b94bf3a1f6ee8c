"""``data:`` URLs are taken apart and put together without decoding."""

from __future__ import annotations

import pytest

from tidegate.wire.data_url import data_url, split_data_url


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("data:image/png;base64,aGk=", ("image/png", b"aGk=")),
        ("DATA:text/plain;charset=utf-8;BASE64,aGk=", ("text/plain", b"aGk=")),
        ("data:;base64,", ("", b"")),
        ("data:image/png,raw", None),
        ("data:image/png;base64", None),
        ("data:image/png;base64,é", None),
        ("https://x/data:a;base64,b", None),
        ("", None),
    ],
)
def test_only_base64_data_urls_are_taken_apart(url: str, found: tuple[str, bytes] | None) -> None:
    assert split_data_url(url) == found


def test_what_is_put_together_comes_apart_again() -> None:
    assert data_url("image/png", b"aGk=") == "data:image/png;base64,aGk="
    assert split_data_url(data_url("", b"aGk=")) == ("application/octet-stream", b"aGk=")
