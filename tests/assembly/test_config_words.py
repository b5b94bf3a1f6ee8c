from __future__ import annotations

import pytest

from tidegate.assembly.config_words import parse_statuses, split_address, split_url


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080), True),
        ("[::1]:80", ("::1", 80), True),
        ("localhost:0", ("localhost", 0), True),
        (":8080", ("0.0.0.0", 8080), False),
        ("[::]:65535", ("::", 65535), False),
    ],
)
def test_an_address_to_listen_on(text: str, address: tuple[str, int], loopback: bool) -> None:
    assert split_address(text) == address
    assert split_address(text).loopback is loopback


@pytest.mark.parametrize("text", ["", "8080", "127.0.0.1", "::1:80", "api.example:80", "127.0.0.1:65536", "1.2.3:80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_address(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://10.0.0.5:8000", ("http", "10.0.0.5", 8000, "")),
        ("https://API.example", ("https", "api.example", 443, "")),
        ("http://[::1]/base/", ("http", "::1", 80, "/base")),
    ],
)
def test_the_url_of_a_target(text: str, url: tuple[str, str, int, str]) -> None:
    assert split_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.5:80", "ftp://x", "http://", "http://u:p@x", "http://x?q", "http://x#f", "http://x:0", "http://x:99999",
     "http://x/ y"],
)  # fmt: skip
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        split_url(text)


def test_statuses_are_written_alone_or_as_ranges() -> None:
    assert parse_statuses(204) == (204, 204)
    assert parse_statuses("200-299") == (200, 299)
    for bad in (True, 99, 600, "2xx", "299-200", ""):
        with pytest.raises(ValueError):
            parse_statuses(bad)
