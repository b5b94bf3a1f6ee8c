"""RFC 9651: one table read both ways, and a table of what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.wire.structured_fields import (
    InnerList,
    Item,
    Token,
    parse_dictionary,
    write_bare,
    write_inner_list,
    write_params,
)

TABLE = [
    ("", {}),
    ("a=1", {"a": Item(1, {})}),
    ("a", {"a": Item(True, {})}),
    ("a=?0;x", {"a": Item(False, {"x": True})}),
    ('a="b\\"\\\\c"', {"a": Item('b"\\c', {})}),
    ("sig=:AQID:", {"sig": Item(b"\x01\x02\x03", {})}),
    ("sig=::", {"sig": Item(b"", {})}),
    ("a=tok/en:1", {"a": Item(Token("tok/en:1"), {})}),
    ("a=-15;p=*x", {"a": Item(-15, {"p": Token("*x")})}),
    ("a=()", {"a": InnerList([], {})}),
    (
        'sig1=("@method" "x";sf);created=5;keyid="k", b=2',
        {
            "sig1": InnerList([Item("@method", {}), Item("x", {"sf": True})], {"created": 5, "keyid": "k"}),
            "b": Item(2, {}),
        },
    ),
]


@pytest.mark.parametrize(("text", "value"), TABLE)
def test_texts_and_values_belong_together(text: str, value: dict[str, Item | InnerList]) -> None:
    parsed = parse_dictionary(text)
    assert parsed == value
    written = []
    for key, member in parsed.items():
        if isinstance(member, InnerList):
            written.append(f"{key}={write_inner_list(member)}")
        elif member.value is True:
            written.append(key + write_params(member.params))
        else:
            written.append(f"{key}={write_bare(member.value)}{write_params(member.params)}")
    assert ", ".join(written) == text


def test_blanks_are_allowed_where_the_grammar_says() -> None:
    assert parse_dictionary("  a=1 \t,\tb=( 1  2 );  x ") == {
        "a": Item(1, {}), "b": InnerList([Item(1, {}), Item(2, {})], {"x": True}),
    }  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    ["A=1", "a=", "a=1,", ",a=1", "a=1 b=2", "a=1,,b=2", "a=(1", "a=(1 2", "a=(1,2)", 'a=("x""y")', "a=1)", 'a="x',
     'a="\\x"', 'a="é"', "a=:A:", "a=:AA=A:", "a=:AQID", "a=1.5", "a=1234567890123456", "a=?2", "a=@5", "a=1,a=2",
     "a;x;x", "a;X", "a=1;", "=1", "a= 1", "\ta=1", 'a="\x00"', "a=((1))", "é"],
)  # fmt: skip
def test_what_the_grammar_does_not_say_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        parse_dictionary(bad)


@pytest.mark.parametrize("part", ["a%d=1, ", "z=(1);a%d;", "y"])
def test_counts_are_bounded(part: str) -> None:
    many = {
        "a%d=1, ": ", ".join(f"a{n}=1" for n in range(65)),
        "z=(1);a%d;": "z=(1)" + "".join(f";a{n}" for n in range(65)),
        "y": "y=(" + " ".join("1" for _ in range(65)) + ")",
    }[part]
    with pytest.raises(ValueError):
        parse_dictionary(many)


@given(st.text(alphabet='ab=(),;:"\\ \t?1*-.@/é', max_size=30))
def test_any_text_is_a_dictionary_or_a_value_error(text: str) -> None:
    try:
        parsed = parse_dictionary(text)
    except ValueError:
        return
    assert len(parsed) <= 64


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True),
                       st.one_of(st.integers(-(10**15) + 1, 10**15 - 1), st.booleans(), st.binary(max_size=20),
                                 st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)),
                       max_size=8))  # fmt: skip
def test_parameters_survive_their_text(params: dict[str, int | bool | bytes | str]) -> None:
    inner = InnerList([Item("x", {})], params)  # type: ignore[arg-type]
    assert parse_dictionary(f"a={write_inner_list(inner)}") == {"a": inner}


def test_a_string_outside_printable_ascii_is_not_written() -> None:
    for bad in ("é", "\n"):
        with pytest.raises(ValueError):
            write_bare(bad)
