import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.path_template import MAX_SEGMENTS, REST, BadPattern, Node, capture, climb, parse, plant


@pytest.mark.parametrize(
    ("text", "segments", "verb", "captures"),
    [
        ("/a", ("a",), "", ()),
        ("/a/*/b", ("a", "*", "b"), "", ()),
        ("/a/**", ("a", "**"), "", ()),
        ("/v1/{id}", ("v1", "*"), "", (("id", 1, 2),)),
        ("/v1/{id=*}:cancel", ("v1", "*"), "cancel", (("id", 1, 2),)),
        ("/v1/{name=shelves/*/books/*}/x", ("v1", "shelves", "*", "books", "*", "x"), "", (("name", 1, 5),)),
        ("/v1/{a.b_1=**}:go", ("v1", "**"), "go", (("a.b_1", 1, REST),)),
        ("/{a}/{b=x/**}", ("*", "x", "**"), "", (("a", 0, 1), ("b", 1, REST))),
        ("/a:b/c", ("a:b", "c"), "", ()),
        ("/a:b", ("a",), "b", ()),
    ],
)
def test_templates_are_read_by_the_grammar_of_s18_5(
    text: str, segments: tuple[str, ...], verb: str, captures: tuple[tuple[str, int, int], ...]
) -> None:
    template = parse(text)
    assert (template.segments, template.verb, template.captures) == (segments, verb, captures)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "/", "//a", "/a/", "/a:", "/**/a", "/{a=**}/b", "/a*", "/{a", "/a}", "/{a}b", "/b{a}", "/{}", "/{1a}",
        "/{a}/{a}", "/{a={b}}", "/{a=}", "/{a=b//c}", "/{a=x*}", "/{a.}", "/{a b}", "/x" * (MAX_SEGMENTS + 1),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadPattern):
        parse(text)


@given(st.text(alphabet="/{}=*:a.", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        template = parse("/" + text)
    except BadPattern:
        return
    assert all(template.segments) and "**" not in template.segments[:-1]


def trie(*templates: str) -> tuple[Node, dict[int, str]]:
    root = Node()
    return root, {id(plant(root, parse(text))): text for text in templates}


def order(path: str, *templates: str) -> list[str]:
    root, names = trie(*templates)
    return [names[id(leaf)] for leaf in climb(root, path[1:].split("/"))]


def test_matches_come_literal_before_star_before_rest_from_the_left_s5_2() -> None:
    shapes = ("/**", "/*/**", "/*/b", "/a/**", "/a/*", "/a/b", "/a/b/**")
    assert order("/a/b", *shapes) == ["/a/b", "/a/b/**", "/a/*", "/a/**", "/*/b", "/*/**", "/**"]


def test_star_takes_one_segment_that_is_not_empty_and_rest_takes_any_number() -> None:
    assert order("/a/", "/a/*") == []
    assert order("/a/b/", "/a/*", "/a/*/*") == []
    assert order("/a", "/a/**") == ["/a/**"]
    assert order("/a/", "/a/**") == ["/a/**"]
    assert order("/", "/**", "/*") == ["/**"]


def test_one_shape_is_one_leaf_whatever_its_variables_are_called() -> None:
    root = Node()
    assert plant(root, parse("/a/{x}")) is plant(root, parse("/a/{y=*}"))
    assert plant(root, parse("/a/{x=**}")) is plant(root, parse("/a/**"))


def test_a_hostile_path_sees_each_node_at_most_once() -> None:
    names = ["/" + "/".join("*" if bits >> n & 1 else "a" for n in range(8)) for bits in range(256)]
    assert len(order("/a/a/a/a/a/a/a/a", *names)) == 256
    assert order("/a" * 4000, *names) == []


def test_captures_decode_one_segment_and_leave_several_alone_s18_5() -> None:
    captures = parse("/{one}/{two=*/*}/{rest=**}").captures
    assert capture(captures, ["a%20b", "c%2F", "d", "e%20", "f"]) == {"one": "a b", "two": "c%2F/d", "rest": "e%20/f"}
    assert capture(captures, ["%C3%A9", "c", "d"]) == {"one": "é".encode().decode("latin-1"), "two": "c/d", "rest": ""}
