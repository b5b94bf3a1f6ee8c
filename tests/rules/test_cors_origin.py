"""Which origins pass (S21.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.cors_origin import check_origin, origin_test


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example:443", "https://app.example"),
        ("http://app.example:8080", "http://app.example:8080"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://*.app.example", "https://*.app.example"),
        ("*", "*"),
        ("null", "null"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(written: str, kept: str) -> None:
    assert check_origin(written) == kept


@pytest.mark.parametrize(
    "origin",
    ["", "app.example", "https://", "https://app.example/", "https://a b", "https://*", "https://a.*.b", "https://*a.b",
     "https://user@a.b", "https://a.b:port", "**", "https://a.b\n"],
)  # fmt: skip
def test_what_no_browser_sends_is_refused_at_config_time(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        check_origin(origin)


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        ("https://app.example", True),
        ("https://x.a.com", True),
        ("https://x.y.a.com", True),
        ("https://a.com", False),
        ("https://.a.com", False),
        ("https://xa.com", False),
        ("http://x.a.com", False),
        ("https://x.a.com:8443", False),
        ("https://x.a.com.evil.example", False),
        ("https://evil.example/.a.com", False),
        ("https://evil.example#.a.com", False),
        ("https://user@x.a.com", False),
        ("https://app.example.evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_exact_and_wildcard_origins(origin: str, passes: bool) -> None:
    assert origin_test(("https://app.example", "https://*.a.com"))(origin) is passes


def test_a_wildcard_may_name_a_port() -> None:
    allowed = origin_test(("https://*.a.com:8443",))
    assert (allowed("https://x.a.com:8443"), allowed("https://x.a.com")) == (True, False)


def test_a_star_takes_any_origin() -> None:
    assert origin_test(("*",))("https://anyone.example") is True


@given(st.text(max_size=30))
def test_a_wildcard_stands_for_whole_labels_only(middle: str) -> None:
    passes = origin_test(("https://*.a.com",))(f"https://{middle}.a.com")
    labels = middle.split(".")
    assert passes is all(label and set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for label in labels)
