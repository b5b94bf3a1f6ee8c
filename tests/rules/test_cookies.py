import pytest

from tidegate.rules.cookies import cookie


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (None, None), ("", None), ("a", None), ("a=1", "1"), ("b=2; a=1", "1"), ("b=2;a=1", "1"), ("a=1; a=2", "1"),
        ('a="x y"', "x y"), ("a=", ""), ("aa=1", None), ("A=1", None), ("a = 1 ", "1"), ("a=b=c", "b=c"), ('a="', '"'),
    ],
)  # fmt: skip
def test_the_first_cookie_of_the_name_is_read(field: str | None, value: str | None) -> None:
    assert cookie(field, "a") == value
