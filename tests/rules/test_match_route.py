import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.rules.match_route import BadPattern, Builder, RouteConflict, RouteEntry, Router, build


def entry(name: str, path: str = "/", kind: str = "prefix", **more: object) -> RouteEntry:
    for key in ("headers", "query"):
        if isinstance(more.get(key), dict):
            more[key] = tuple(more[key].items())  # type: ignore[attr-defined]
    if "methods" in more:
        more["methods"] = frozenset(str(more["methods"]).split())
    if "hosts" in more:
        more["hosts"] = tuple(str(more["hosts"]).split())
    return RouteEntry(name, name, path, kind, **more)  # type: ignore[arg-type]


def router(*entries: RouteEntry) -> Router:
    builder = Builder()
    for order, e in enumerate(entries):
        builder.add(
            RouteEntry(e.route, e.name, e.path, e.kind, e.hosts, e.methods, e.headers, e.query, e.order or order)
        )
    return builder.finish()


def ask(
    r: Router, path: str, method: str = "GET", host: str = "h", index: dict[str, str] | None = None, query: str = ""
) -> object:
    """The route's name, or the miss as it is."""
    found = r.find(host, path, method, index or {}, query)
    return found[0] if len(found) == 2 and (found[1] is None or isinstance(found[1], dict)) else found


def captures(r: Router, path: str) -> dict[str, str] | None:
    return r.find("h", path, "GET", {}, "")[1]  # type: ignore[return-value]


# -- hosts (S5.1) --------------------------------------------------------------------------------------------------


def test_host_exact_beats_longest_wildcard_beats_shorter_beats_hostless_s5_1() -> None:
    r = router(entry("none"), entry("short", hosts="*.b"), entry("long", hosts="*.a.b"), entry("exact", hosts="x.a.b"))
    assert ask(r, "/", host="x.a.b") == "exact"
    assert ask(r, "/", host="y.a.b") == "long"
    assert ask(r, "/", host="p.q.a.b") == "long"
    assert ask(r, "/", host="a.b") == "short"
    assert ask(r, "/", host="b") == "none"
    assert ask(r, "/", host="") == "none"


def test_wildcard_does_not_cover_its_own_name_s5_1() -> None:
    r = router(entry("w", hosts="*.a.b"))
    assert ask(r, "/", host="a.b") == ()
    assert ask(r, "/", host="xa.b") == ()
    assert ask(r, "/", host=".a.b") == ()


def test_host_of_the_config_is_caseless_and_star_means_every_host() -> None:
    r = router(entry("a", hosts="API.Example"), entry("all", hosts="*"))
    assert ask(r, "/", host="api.example") == "a"
    assert ask(r, "/", host="other") == "all"


def test_a_miss_on_the_better_host_goes_on_to_the_next_one() -> None:
    r = router(entry("a", "/a", hosts="x.b"), entry("w", "/w", hosts="*.b"), entry("all", "/a"))
    assert ask(r, "/w", host="x.b") == "w"
    assert ask(r, "/a/1", host="y.b") == "all"
    assert ask(r, "/a/1", host="x.b") == "a"


# -- paths (S5.2, S5.3) --------------------------------------------------------------------------------------------


def test_path_kinds_in_order_s5_2() -> None:
    p, e = entry("prefix", "/a/b"), entry("exact", "/a/b", "exact")
    t, x = entry("template", "/a/{x}", "template"), entry("regex", "/a/[a-z]", "regex")
    assert ask(router(p, x, t, e), "/a/b") == "exact"
    assert ask(router(p, x, t), "/a/b") == "template"
    assert ask(router(p, x), "/a/b") == "regex"
    assert ask(router(p), "/a/b") == "prefix"


@pytest.mark.parametrize(
    ("prefix", "path", "hit"),
    [
        ("/v2", "/v2", True), ("/v2", "/v2/", True), ("/v2", "/v2/x", True), ("/v2", "/v2x", False),
        ("/v2", "/v", False), ("/v2/", "/v2", True), ("/v2/", "/v2/x", True), ("/", "/", True), ("/", "/a/b", True),
        ("/a/b", "/a", False), ("/a/b", "/a/bc", False), ("/a/b", "/a/b/c/d/e/f", True), ("/a/b", "/a/c/b", False),
    ],
)  # fmt: skip
def test_prefix_works_on_segments_s5_3(prefix: str, path: str, hit: bool) -> None:
    assert ask(router(entry("r", prefix)), path) == ("r" if hit else ())


def test_longest_prefix_wins_and_a_method_miss_falls_to_the_shorter() -> None:
    r = router(entry("root"), entry("a", "/a"), entry("abc", "/a/b/c", methods="POST"))
    assert ask(r, "/a/b/c/d", "POST") == "abc"
    assert ask(r, "/a/b/c/d", "GET") == "a"
    assert ask(r, "/b", "GET") == "root"


def test_exact_tells_the_slash_at_the_end_s5_3() -> None:
    r = router(entry("one", "/a", "exact"), entry("two", "/a/", "exact"))
    assert ask(r, "/a") == "one"
    assert ask(r, "/a/") == "two"
    assert ask(r, "/a/b") == ()


def test_regex_is_anchored_at_both_ends_s5_3() -> None:
    r = router(entry("r", "/a[0-9]+|/b", "regex"))
    assert ask(r, "/a12") == "r"
    assert ask(r, "/b") == "r"
    assert ask(r, "/a12x") == ()
    assert ask(r, "/x/a12") == ()
    assert ask(r, "/bb") == ()


def test_regexes_go_by_method_conditions_and_file_order_across_patterns_s5_2() -> None:
    first, second = entry("first", "/a/.*", "regex"), entry("second", "/a/b.*", "regex")
    assert ask(router(first, second), "/a/bc") == "first"
    assert ask(router(first, entry("second", "/a/b.*", "regex", methods="GET")), "/a/bc") == "second"
    third = entry("third", "/(a|b)/.*", "regex", headers={"x": "1"})
    r = router(first, second, third)
    assert ask(r, "/a/bc", index={"x": "1"}) == "third"
    assert ask(r, "/a/bc") == "first"


def test_a_regex_may_make_its_first_segment_optional() -> None:
    r = router(entry("r", "/users/?abc", "regex"), entry("s", "/x/*y", "regex"))
    assert ask(r, "/usersabc") == "r"
    assert ask(r, "/users/abc") == "r"
    assert ask(r, "/xy") == "s"


def test_regex_groups_are_captured() -> None:
    r = router(entry("r", r"/u/(?P<id>[^/]+)(?:/(?P<rest>.*))?", "regex"))
    assert captures(r, "/u/a%20b") == {"id": "a b", "rest": ""}
    assert captures(r, "/u/1/a/b%2F") == {"id": "1", "rest": "a/b%2F"}


def test_regex_is_linear_on_a_hostile_path_s5_3() -> None:
    r = router(entry("r", "/(a*)*b", "regex"))
    path = "/" + "a" * 100_000
    started = time.perf_counter()
    assert ask(r, path) == ()
    assert time.perf_counter() - started < 0.2


@pytest.mark.parametrize(
    ("path", "kind"),
    [("(", "regex"), ("a" * 5000, "regex"), ("a", "prefix"), ("", "exact"), ("/a/{", "template"), ("/a\\", "regex")],
)
def test_a_bad_pattern_is_refused(path: str, kind: str) -> None:
    with pytest.raises(BadPattern):
        build([entry("r", path, kind)])


def test_templates_give_captures_and_go_by_segment() -> None:
    r = router(
        entry("rest", "/o/{all=**}", "template"), entry("star", "/o/{id}", "template"),
        entry("mine", "/o/mine", "template"), entry("verb", "/o/{id}:cancel", "template"),
    )  # fmt: skip
    assert ask(r, "/o/mine") == "mine"
    assert ask(r, "/o/1") == "star"
    assert ask(r, "/o/1/2") == "rest"
    assert ask(r, "/o") == "rest"
    assert r.find("h", "/o/1:cancel", "GET", {}, "") == ("verb", {"id": "1"})
    assert r.find("h", "/o/1:other", "GET", {}, "") == ("star", {"id": "1:other"})
    assert r.find("h", "/o/mine", "GET", {}, "") == ("mine", None)
    assert r.find("h", "/o/1/2", "GET", {}, "") == ("rest", {"all": "1/2"})


def test_one_template_shape_may_name_its_variables_differently_by_method() -> None:
    r = router(entry("get", "/o/{id}", "template", methods="GET"), entry("put", "/o/{key}", "template", methods="PUT"))
    assert r.find("h", "/o/7", "GET", {}, "") == ("get", {"id": "7"})
    assert r.find("h", "/o/7", "PUT", {}, "") == ("put", {"key": "7"})
    assert r.find("h", "/o/7", "POST", {}, "") == ("GET", "HEAD", "PUT")


# -- methods (S5.5) ------------------------------------------------------------------------------------------------


def test_a_wrong_method_is_told_apart_from_a_wrong_path_s5_5() -> None:
    r = router(entry("a", "/a", methods="GET POST"), entry("b", "/a/b", "exact", methods="DELETE"))
    assert ask(r, "/a/b", "PUT") == ("DELETE", "GET", "HEAD", "POST")
    assert ask(r, "/a", "PUT") == ("GET", "HEAD", "POST")
    assert ask(r, "/c", "PUT") == ()


def test_get_serves_head_unless_an_equal_route_names_head_s5_5() -> None:
    assert ask(router(entry("get", methods="GET")), "/", "HEAD") == "get"
    r = router(entry("get", methods="GET"), entry("head", methods="HEAD"))
    assert ask(r, "/", "HEAD") == "head"
    assert ask(r, "/", "GET") == "get"


def test_a_route_with_a_method_beats_one_without_s5_2() -> None:
    r = router(entry("any", "/a"), entry("get", "/a", methods="GET"))
    assert ask(r, "/a") == "get"
    assert ask(r, "/a", "HEAD") == "get"
    assert ask(r, "/a", "PUT") == "any"


def test_allow_names_only_methods_that_would_have_been_served() -> None:
    r = router(entry("a", "/a", methods="PUT", headers={"x": "1"}), entry("b", "/a", methods="POST"))
    assert ask(r, "/a", "GET") == ("POST",)
    assert ask(r, "/a", "GET", index={"x": "1"}) == ("POST", "PUT")


# -- conditions (S5.2, S5.4, S4.11) --------------------------------------------------------------------------------


def test_more_header_conditions_then_more_query_conditions_then_file_order_s5_2() -> None:
    r = router(
        entry("none", "/a"), entry("q", "/a", query={"k": "1"}), entry("h", "/a", headers={"X": "1"}),
        entry("h2", "/a", headers={"y": "1"}), entry("hq", "/a", headers={"x": "1"}, query={"k": "1"}),
    )  # fmt: skip
    assert ask(r, "/a") == "none"
    assert ask(r, "/a", query="k=1") == "q"
    assert ask(r, "/a", query="k=1", index={"y": "1"}) == "h2"
    assert ask(r, "/a", index={"x": "1", "y": "1"}) == "h"
    assert ask(r, "/a", query="k=1", index={"x": "1", "y": "1"}) == "hq"
    assert ask(r, "/a", query="k=2", index={"x": "2"}) == "none"


def test_has_method_comes_before_conditions_s5_2() -> None:
    r = router(entry("conditions", headers={"x": "1", "y": "2"}), entry("method", methods="GET"))
    assert ask(r, "/", index={"x": "1", "y": "2"}) == "method"
    assert ask(r, "/", "PUT", index={"x": "1", "y": "2"}) == "conditions"


def test_of_two_conditions_on_one_name_the_first_counts_s5_4() -> None:
    r = router(entry("a", headers=(("x", "1"), ("X", "2")), query=(("k", "1"), ("k", "2"))))
    assert ask(r, "/", index={"x": "1"}, query="k=1") == "a"
    assert ask(r, "/", index={"x": "2"}, query="k=2") == ()


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ("k=a b", True), ("k=a+b", True), ("k=a%20b", True), ("x=1&k=a+b&k=c", True), ("k=c&k=a+b", False),
        ("%6B=a+b", True), ("k=a%2", False), ("k=a%zzb&k=a+b", False), ("%zz=1&k=a+b", True), ("", False),
        ("k", False), ("K=a+b", False), ("k=a+b;x", False), ("&&k=a+b&", True),
    ],
)  # fmt: skip
def test_query_conditions_read_the_first_decoded_value_s4_11(query: str, hit: bool) -> None:
    assert ask(router(entry("a", query={"k": "a b"})), "/", query=query) == ("a" if hit else ())


def test_conditions_beyond_ascii_match_the_bytes_of_utf_8() -> None:
    r = router(entry("a", headers={"x": "é"}, query={"ü": "é"}))
    assert ask(r, "/", index={"x": "é".encode().decode("latin-1")}, query="%C3%BC=%C3%A9") == "a"


# -- conflicts (S5.2) ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (entry("a"), entry("b")),
        (entry("a", "/v2"), entry("b", "/v2/")),
        (entry("a", "/x/{i}", "template"), entry("b", "/x/{j=*}", "template")),
        (entry("a", "/x/**", "template"), entry("b", "/x/{j=**}", "template")),
        (entry("a", "/.*", "regex"), entry("b", "/.*", "regex")),
        (entry("a", methods="GET PUT"), entry("b", methods="PUT POST")),
        (entry("a", methods="GET HEAD"), entry("b", methods="HEAD")),
        (entry("a", hosts="x y"), entry("b", hosts="Y z")),
        (entry("a", headers={"x": "1", "y": "2"}), entry("b", headers={"Y": "2", "X": "1"})),
        (entry("a", query={"x": "1"}, methods="GET"), entry("b", query={"x": "1"}, methods="GET")),
    ],
)
def test_two_equal_matches_are_refused_by_name_s5_2(one: RouteEntry, two: RouteEntry) -> None:
    with pytest.raises(RouteConflict) as caught:
        build([one, two])
    assert (caught.value.first_name, caught.value.second_name) == ("a", "b")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (entry("a"), entry("b", methods="GET")),
        (entry("a", "/v2"), entry("b", "/v2", "exact")),
        (entry("a", methods="GET"), entry("b", methods="HEAD")),
        (entry("a", methods="GET"), entry("b", methods="PUT")),
        (entry("a", hosts="x"), entry("b", hosts="*.x")),
        (entry("a", headers={"x": "1"}), entry("b", headers={"x": "2"})),
        (entry("a", headers={"x": "1"}), entry("b", query={"x": "1"})),
        (entry("a", "/x/{i}:v", "template"), entry("b", "/x/{i}", "template")),
    ],
)
def test_matches_that_differ_are_no_conflict(one: RouteEntry, two: RouteEntry) -> None:
    assert isinstance(build([one, two]), Router)


# -- preflight (S21.1) ---------------------------------------------------------------------------------------------


def test_a_preflight_is_routed_as_what_it_announces_s21_1() -> None:
    r = router(
        entry("two", "/a", methods="PUT", headers={"x": "1", "y": "1"}), entry("one", "/a", headers={"x": "1"}),
        entry("none", "/a"),
    )  # fmt: skip
    find = r.find_preflight
    assert find("h", "/a", "PUT", {}, {"x", "y"}, "") == ("two", None)
    assert find("h", "/a", "PUT", {"y": "1"}, {"x"}, "") == ("two", None)
    assert find("h", "/a", "PUT", {"y": "2"}, {"x"}, "") == ("one", None)
    assert find("h", "/a", "GET", {}, {"x", "y"}, "") == ("one", None)
    assert find("h", "/a", "GET", {}, {"z"}, "") == ("none", None)
    assert find("h", "/b", "GET", {}, {"x"}, "") == ()


def test_a_preflight_that_fits_several_values_gets_the_first_of_the_file() -> None:
    r = router(entry("v1", headers={"x": "1"}, order=7), entry("v2", headers={"x": "2"}, order=3))
    assert r.find_preflight("h", "/", "GET", {}, {"x"}, "") == ("v2", None)


# -- against an obviously correct matcher --------------------------------------------------------------------------

NAMES = ["a", "b", "aa"]
HOSTS = ["", "h", "x.h", "y.x.h"]


def simple_template_match(template: str, path: str) -> tuple[int, ...] | None:
    """Rank of each segment (0 literal, 1 ``*``, 2 ``**``), or None when it does not match."""
    rank: list[int] = []
    have = path[1:].split("/")
    for number, segment in enumerate(template[1:].split("/")):
        if segment == "**":
            return (*rank, 2)
        if number >= len(have) or not (have[number] if segment == "*" else segment == have[number]):
            return None
        rank.append(1 if segment == "*" else 0)
    return tuple(rank) if len(rank) == len(have) else None


def slow(entries: list[RouteEntry], host: str, path: str, method: str, index: dict[str, str], query: str) -> object:
    """Every route is looked at, and the one that the words of S5.1 and S5.2 put first is taken."""
    pool: list[tuple[tuple[object, ...], set[object], set[object], RouteEntry]] = []
    allowed: set[str] = set()
    asked = dict(reversed([[*p.split("="), ""][:2] for p in query.split("&")]))
    for e in entries:
        host_ranks = []
        for name in e.hosts or ("",):
            if name == "":
                host_ranks.append((2, 0))
            elif name.startswith("*."):
                if host.endswith(name[1:]) and len(host) > len(name) - 1:
                    host_ranks.append((1, -len(name)))
            elif name == host:
                host_ranks.append((0, 0))
        if not host_ranks:
            continue
        if e.kind == "exact":
            path_rank: tuple[object, ...] | None = (0,) if path == e.path else None
        elif e.kind == "template":
            found = simple_template_match(e.path, path)
            path_rank = None if found is None else (1, found)
        elif e.kind == "regex":
            path_rank = (2,) if re.fullmatch(e.path, path) else None
        else:
            stem = e.path.rstrip("/")
            path_rank = (3, -len(stem)) if path == stem or path.startswith(stem + "/") else None
        if path_rank is None:
            continue
        if any(index.get(n) != v for n, v in e.headers) or any(asked.get(n) != v for n, v in e.query):
            continue
        served = e.methods | {"HEAD"} if "GET" in e.methods else e.methods
        if e.methods and method not in served:
            allowed |= served
            continue
        place = (min(host_ranks), path_rank, not e.methods)
        pool.append((place, set(e.headers), set(e.query), e))
    # GET serves HEAD, but not where an equal route names HEAD itself.
    named = [(*same, e.path if e.kind == "regex" else "") for *same, e in pool if method in e.methods]
    pool = [
        (*same, e)
        for *same, e in pool
        if method in e.methods or not e.methods or (*same, e.path if e.kind == "regex" else "") not in named
    ]
    if not pool:
        return tuple(sorted(allowed))
    return min(pool, key=lambda p: (*p[0], -len(p[1]), -len(p[2]), p[3].order))[3].name


segment = st.sampled_from(NAMES)
plain_path = st.lists(segment, max_size=3).map(lambda parts: "/" + "/".join(parts))
template_path = st.tuples(
    st.lists(st.sampled_from([*NAMES, "*"]), min_size=0, max_size=3), st.sampled_from(["a", "*", "**"])
).map(lambda t: "/" + "/".join([*t[0], t[1]]))
regex_path = st.sampled_from(["/a/.*", "/a/?a", "/(a|b)", "/a/(a|b)/?", "/aa/b*.+", ".*/b", "/b/[^/]+"])
paths = {"prefix": plain_path, "exact": plain_path, "template": template_path, "regex": regex_path}
conditions = st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2).map(lambda d: tuple(d.items()))


@st.composite
def route_tables(draw: st.DrawFn) -> list[RouteEntry]:
    table: list[RouteEntry] = []
    for order in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(["prefix", "exact", "template", "regex"]))
        e = RouteEntry(
            f"r{order}", f"r{order}", draw(paths[kind]), kind,  # type: ignore[arg-type]
            tuple(draw(st.lists(st.sampled_from(["h", "x.h", "*.h", "*.x.h"]), max_size=2))),
            frozenset(draw(st.lists(st.sampled_from(["GET", "PUT", "HEAD"]), max_size=2))),
            draw(conditions), draw(conditions), order,
        )  # fmt: skip
        try:
            build([*table, e])
        except RouteConflict:
            continue
        table.append(e)
    return table


@settings(max_examples=150, deadline=None)
@given(data=st.data(), table=route_tables())
def test_finds_what_a_matcher_that_looks_at_every_route_finds(data: st.DataObject, table: list[RouteEntry]) -> None:
    r = build(table)
    for _ in range(8):
        host, path = data.draw(st.sampled_from(HOSTS)), data.draw(plain_path) + data.draw(st.sampled_from(["", "/"]))
        path = path.replace("//", "/")
        method = data.draw(st.sampled_from(["GET", "HEAD", "PUT", "POST"]))
        index, query = dict(data.draw(conditions)), "&".join(f"{n}={v}" for n, v in data.draw(conditions))
        assert ask(r, path, method, host, index, query) == slow(table, host, path, method, index, query)


# -- size (S5.10) --------------------------------------------------------------------------------------------------


def many(count: int) -> Router:
    return build(
        entry(f"r{n}", f"/api/s{n}", hosts=f"h{n % 1000}.example" if n % 2 else "", order=n) for n in range(count)
    )


def test_ten_thousand_routes_are_built_in_time_and_all_found_s5_10() -> None:
    started = time.perf_counter()
    r = many(10_000)
    assert time.perf_counter() - started < 2.0
    for n in (0, 1, 4_999, 5_000, 9_998, 9_999):
        assert ask(r, f"/api/s{n}/x", host=f"h{n % 1000}.example") == f"r{n}"


def test_a_thousand_values_of_one_header_cost_one_look_up_s5_10() -> None:
    r = build(entry(f"r{n}", headers={"x-tenant": str(n)}, order=n) for n in range(1000))
    assert ask(r, "/", index={"x-tenant": "777"}) == "r777"
    assert ask(r, "/", index={"x-tenant": "1000"}) == ()
