from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.route_conditions import Candidate, Leaf, RouteConflict, first_values

NONE: frozenset[str] = frozenset()


Pairs = tuple[tuple[str, str], ...]


def put(leaf: Leaf, name: str, methods: str = "", headers: Pairs = (), query: Pairs = (), order: int = 0) -> None:
    names = frozenset(methods.split())
    leaf.add(Candidate(name, name, (), len(names), len(headers), len(query), order), names, headers, query)


def found(leaf: Leaf, method: str = "GET", index: dict[str, str] | None = None, query: str = "") -> str | None:
    candidate = leaf.find(method, index or {}, query, NONE)
    return None if candidate is None else candidate.name


def test_rank_is_method_then_headers_then_query_then_order_s5_2() -> None:
    ranks = [
        Candidate(None, "", (), methods, headers, query, order).rank
        for methods, headers, query, order in [
            (1, 2, 0, 9), (1, 1, 1, 8), (1, 1, 0, 7), (1, 0, 5, 6), (1, 0, 0, 1), (1, 0, 0, 5), (0, 3, 0, 0),
            (0, 0, 0, 0),
        ]
    ]  # fmt: skip
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


def test_best_is_the_lowest_rank_and_minus_one_when_empty() -> None:
    leaf = Leaf()
    assert leaf.best == -1
    put(leaf, "open", order=1)
    first = leaf.best
    put(leaf, "get", "GET", order=2)
    assert leaf.best < first
    put(leaf, "put", "PUT", order=3)
    assert leaf.best == Candidate("", "", (), 1, 0, 0, 2).rank


def test_conditions_of_equal_count_go_by_file_order_across_names() -> None:
    leaf = Leaf()
    put(leaf, "y", headers=(("y", "1"),), order=2)
    put(leaf, "x", headers=(("x", "1"),), order=1)
    assert found(leaf, index={"x": "1", "y": "1"}) == "x"
    assert found(leaf, index={"y": "1"}) == "y"
    assert found(leaf, index={"x": "2"}) is None


def test_get_serves_head_within_its_own_conditions_only_s5_5() -> None:
    leaf = Leaf()
    put(leaf, "conditional", "GET", headers=(("x", "1"),))
    put(leaf, "head", "HEAD", order=1)
    assert found(leaf, "HEAD", {"x": "1"}) == "conditional"
    assert found(leaf, "HEAD") == "head"
    assert leaf.allowed({"x": "1"}, "", NONE) == {"GET", "HEAD"}
    assert leaf.allowed({}, "", NONE) == {"HEAD"}


def test_a_conflict_names_both_routes_s5_2() -> None:
    leaf = Leaf()
    put(leaf, "a", "GET PUT", query=(("k", "1"),))
    with pytest.raises(RouteConflict, match="'a' and 'b'"):
        put(leaf, "b", "PUT", query=(("k", "1"),))


def test_an_announced_header_may_have_any_value_s21_1() -> None:
    leaf = Leaf()
    put(leaf, "two", headers=(("x", "1"), ("y", "1")))
    assert leaf.find("GET", {"y": "1"}, "", {"x"}) is not None
    assert leaf.find("GET", {"y": "2"}, "", {"x"}) is None
    assert leaf.find("GET", {"x": "1"}, "", {"x"}) is None


def test_a_bad_escape_spoils_its_own_pair_only_s4_11() -> None:
    assert first_values("a=%zz&a=1&b=2&%=3&c") == {"a": None, "b": "2", "c": ""}
    assert first_values("") == {"": ""}


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=6))
def test_what_was_encoded_is_read_back(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{quote_plus(k, errors='replace')}={quote_plus(v, errors='replace')}" for k, v in pairs)
    expected: dict[str, str] = {}
    for key, value in pairs:
        expected.setdefault(*(t.encode("utf-8", "replace").decode("latin-1") for t in (key, value)))
    assert first_values(query) == (expected or {"": ""})
