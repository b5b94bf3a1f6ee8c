"""Which route serves a request (S5): an index over all routes, built off the request path and never changed after.

A look-up goes through at most three kinds of host and four kinds of path, each one or a few dict accesses, so 100,000
routes cost what ten do (S5.10). Only regexes are tried one by one, and only those whose first segment can fit.

    exact host │ *.longest.wildcard │ *.wildcard │ hostless          S5.1, better first
    in each:     exact │ template │ regex │ longest prefix           S5.2
    in each:     has method │ more headers │ more query │ file order   ``route_conditions``

What does not match at a better place is looked for at the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, Literal

from tidegate.rules.path_template import BadPattern, Node, Template, capture, climb, decode, parse, plant
from tidegate.rules.route_conditions import Candidate, Conditions, Leaf, RouteConflict

__all__ = ["BadPattern", "Builder", "RouteConflict", "RouteEntry", "Router", "build"]

Hit = tuple[Any, dict[str, str] | None]

MAX_REGEX: Final = 4096
"""Characters of one regex; RE2 bounds the compiled size itself."""
MAX_CONDITIONS: Final = 32

_NOBODY: Final[frozenset[str]] = frozenset()
_LITERAL_START: Final = re.compile(r"/([A-Za-z0-9_~-]+)/(?![?*+{])")


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One way to reach a route; a route with several matches has several entries.

    route    what ``find`` gives back, opaque here
    name     for conflicts
    path     canonical (S4.9); what it means is told by ``kind``
    hosts    names or ``*.names``; empty for every host
    methods  empty for every method
    headers, query   (name, value), all must hold; of two on one name the first counts (S5.4)
    order    place in the file; no two entries share one
    """

    route: Any
    name: str
    path: str
    kind: Literal["prefix", "exact", "template", "regex"] = "prefix"
    hosts: tuple[str, ...] = ()
    methods: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    order: int = 0


class Regex:
    """A compiled pattern and the routes on it. Named groups are captured."""

    __slots__ = ("fullmatch", "groups", "leaf")

    def __init__(self, pattern: Any) -> None:
        self.fullmatch = pattern.fullmatch
        self.groups: tuple[str, ...] = tuple(pattern.groupindex)
        self.leaf = Leaf()


class Place:
    """All routes of one host (or wildcard, or of no host)."""

    __slots__ = ("depth", "exact", "prefixes", "regexes", "root", "shapes", "templates")

    def __init__(self) -> None:
        self.exact: dict[str, Leaf] = {}
        self.prefixes: dict[str, Leaf] = {}
        """Without the slash at the end."""
        self.depth = 0
        """Segments of the longest prefix: deeper cuts of a path cannot be keys."""
        self.root: Leaf | None = None
        """The prefix ``/``."""
        self.templates: dict[str, Node] = {}
        """Verb (or "") → trie."""
        self.regexes: dict[str, list[Regex]] = {}
        """First segment, if the pattern is sure to begin with that one, else "" → patterns by best rank."""
        self.shapes: dict[str, Regex] = {}
        """Pattern as written → its place in ``regexes``."""

    def find(self, path: str, method: str, index: dict[str, str], query: str, announced: Set[str]) -> Hit | None:
        leaf = self.exact.get(path)
        if leaf is not None:
            candidate = leaf.find(method, index, query, announced)
            if candidate is not None:
                return candidate.hit
        if self.templates:
            hit = self._find_template(path, method, index, query, announced)
            if hit is not None:
                return hit
        if self.regexes:
            hit = self._find_regex(path, method, index, query, announced)
            if hit is not None:
                return hit
        if self.depth:
            for cut in self._cuts(path):
                leaf = self.prefixes.get(path[:cut])
                if leaf is not None:
                    candidate = leaf.find(method, index, query, announced)
                    if candidate is not None:
                        return candidate.hit
        if self.root is not None:
            candidate = self.root.find(method, index, query, announced)
            if candidate is not None:
                return candidate.hit
        return None

    def _cuts(self, path: str) -> list[int]:
        """Where *path* may be cut to be one of our prefixes: at its end or at a slash, longest first."""
        cuts: list[int] = []
        cut = 0
        for _ in range(self.depth):
            cut = path.find("/", cut + 1)
            if cut < 0:
                cuts.append(len(path))
                break
            cuts.append(cut)
        cuts.reverse()
        return cuts

    def _find_template(
        self, path: str, method: str, index: dict[str, str], query: str, announced: Set[str]
    ) -> Hit | None:
        for leaf, segments in self._template_leaves(path):
            candidate = leaf.find(method, index, query, announced)
            if candidate is not None:
                if candidate.captures:
                    return (candidate.hit[0], capture(candidate.captures, segments))
                return candidate.hit
        return None

    def _find_regex(self, path: str, method: str, index: dict[str, str], query: str, announced: Set[str]) -> Hit | None:
        best: Candidate | None = None
        captures: dict[str, str] | None = None
        for bucket in self._buckets(path):
            for regex in bucket:  # by best rank: the first that matches ends the search as a rule
                if best is not None and best.rank < regex.leaf.best:
                    break
                match = regex.fullmatch(path)
                if match is None:
                    continue
                candidate = regex.leaf.find(method, index, query, announced)
                if candidate is not None and (best is None or candidate.rank < best.rank):
                    best = candidate
                    captures = _groups(match, regex.groups) if regex.groups else None
        return None if best is None else (best.hit[0], captures)

    def _template_leaves(self, path: str) -> Iterator[tuple[Leaf, list[str]]]:
        segments = path[1:].split("/")
        # A registered verb is a verb; any other ``:word`` is part of its segment (S18.5).
        last, colon, verb = segments[-1].rpartition(":")
        if colon and verb in self.templates:
            before = [*segments[:-1], last]
            for leaf in climb(self.templates[verb], before):
                yield leaf, before
        root = self.templates.get("")
        if root is not None:
            for leaf in climb(root, segments):
                yield leaf, segments

    def _buckets(self, path: str) -> list[list[Regex]]:
        if not self.regexes:
            return []
        end = path.find("/", 1)
        keys = (path[1:] if end < 0 else path[1:end], "")
        return [self.regexes[key] for key in dict.fromkeys(keys) if key in self.regexes]

    def leaves(self, path: str) -> Iterator[Leaf]:
        """Every leaf whose path matches, in no order that matters."""
        leaf = self.exact.get(path)
        if leaf is not None:
            yield leaf
        if self.templates:
            for leaf, _ in self._template_leaves(path):
                yield leaf
        for bucket in self._buckets(path):
            for regex in bucket:
                if regex.fullmatch(path) is not None:
                    yield regex.leaf
        for cut in self._cuts(path):
            leaf = self.prefixes.get(path[:cut])
            if leaf is not None:
                yield leaf
        if self.root is not None:
            yield self.root


class Router:
    """The finished index. Made by :class:`Builder`."""

    __slots__ = ("_by_host", "_everywhere", "_hosted", "_wild")

    def __init__(self, by_host: dict[str, Place], wild: dict[str, Place], hostless: Place) -> None:
        self._by_host = by_host
        self._wild = wild
        """``.a.b`` → place of ``*.a.b``."""
        self._everywhere = [hostless]
        self._hosted = bool(by_host or wild)

    def find(self, host: str, path: str, method: str, index: dict[str, str], query: str) -> Hit | tuple[str, ...]:
        """The route for a request with canonical *host* and *path* (S4.7, S4.9), the joined header *index* and raw
        *query*.

        A hit is ``(route, captures)``, captures None when the path has no variables. A miss holds only text: the
        methods that would have been served here, sorted, for a 405 with ``Allow``; ``()`` for a 404 (S5.5).
        """
        return self._find(host, path, method, index, query, _NOBODY)

    def find_preflight(
        self, host: str, path: str, announced_method: str, index: dict[str, str], announced_headers: Set[str],
        query: str,
    ) -> Hit | tuple[str, ...]:  # fmt: skip
        """The route for the request that a preflight announces (S21.1). A header condition holds when the preflight
        itself has the value, or names the field among *announced_headers* (lower case)."""
        return self._find(host, path, announced_method, index, query, announced_headers)

    def _find(
        self, host: str, path: str, method: str, index: dict[str, str], query: str, announced: Set[str]
    ) -> Hit | tuple[str, ...]:
        places = self._places(host) if self._hosted else self._everywhere
        for place in places:
            hit = place.find(path, method, index, query, announced)
            if hit is not None:
                return hit
        allowed: set[str] = set()
        for place in places:
            for leaf in place.leaves(path):
                allowed |= leaf.allowed(index, query, announced)
        return tuple(sorted(allowed))

    def _places(self, host: str) -> list[Place]:
        """S5.1: the host itself, its wildcards from the longest, then the hostless."""
        places: list[Place] = []
        place = self._by_host.get(host)
        if place is not None:
            places.append(place)
        if self._wild:
            dot = host.find(".", 1)
            while dot > 0:
                place = self._wild.get(host[dot:])
                if place is not None:
                    places.append(place)
                dot = host.find(".", dot + 1)
        places += self._everywhere
        return places


class Builder:
    """Builds a router step by step, so that a caller can spread a big config over many turns of its loop (S5.10).
    ``add`` costs some microseconds, ``finish`` only sorts regexes."""

    __slots__ = ("_by_host", "_hostless", "_options", "_wild", "_with_regexes")

    def __init__(self) -> None:
        self._by_host: dict[str, Place] = {}
        self._wild: dict[str, Place] = {}
        self._hostless = Place()
        self._with_regexes: list[Place] = []
        self._options: Any = None

    def add(self, entry: RouteEntry) -> None:
        """Raises :class:`RouteConflict` or :class:`BadPattern`; the builder is then of no further use."""
        if not entry.path.startswith("/") and entry.kind != "regex":
            raise BadPattern(f"path {entry.path!r} must begin with /")
        headers = _conditions(entry.headers, lower=True)
        query = _conditions(entry.query, lower=False)
        if len(headers) > MAX_CONDITIONS or len(query) > MAX_CONDITIONS:
            raise BadPattern(f"route {entry.name!r} has more than {MAX_CONDITIONS} conditions of one kind")
        template = parse(entry.path) if entry.kind == "template" else None
        candidate = Candidate(
            entry.route,
            entry.name,
            template.captures if template is not None else (),
            len(entry.methods),
            len(headers),
            len(query),
            entry.order,
        )
        for host in dict.fromkeys(host.lower() for host in entry.hosts) if entry.hosts else ("*",):
            leaf = self._leaf(self._place(host), entry, template)
            leaf.add(candidate, entry.methods, headers, query)

    def finish(self) -> Router:
        for place in self._with_regexes:
            for bucket in place.regexes.values():
                bucket.sort(key=_best)
        return Router(self._by_host, self._wild, self._hostless)

    def _place(self, host: str) -> Place:
        if host == "*":
            return self._hostless
        if host.startswith("*."):
            table, key = self._wild, host[1:]
        else:
            table, key = self._by_host, host
        place = table.get(key)
        if place is None:
            place = table[key] = Place()
        return place

    def _leaf(self, place: Place, entry: RouteEntry, template: Template | None) -> Leaf:
        if template is not None:
            root = place.templates.get(template.verb)
            if root is None:
                root = place.templates[template.verb] = Node()
            return plant(root, template)
        if entry.kind == "regex":
            return self._regex_leaf(place, entry.path)
        path = entry.path
        table = place.exact
        if entry.kind == "prefix":
            path = path.rstrip("/")
            if not path:
                if place.root is None:
                    place.root = Leaf()
                return place.root
            place.depth = max(place.depth, path.count("/"))
            table = place.prefixes
        leaf = table.get(path)
        if leaf is None:
            leaf = table[path] = Leaf()
        return leaf

    def _regex_leaf(self, place: Place, pattern: str) -> Leaf:
        regex = place.shapes.get(pattern)
        if regex is None:
            if not place.regexes:
                self._with_regexes.append(place)
            regex = place.shapes[pattern] = Regex(self._compile(pattern))
            place.regexes.setdefault(_first_segment(pattern), []).append(regex)
        return regex.leaf

    def _compile(self, pattern: str) -> Any:
        import re2  # type: ignore[import-untyped]  # only configs with a regex pay for it

        if self._options is None:
            self._options = re2.Options()
            self._options.log_errors = False
        if len(pattern) > MAX_REGEX:
            raise BadPattern(f"a path regex has more than {MAX_REGEX} characters")
        try:
            return re2.compile(pattern, self._options)
        except re2.error as error:
            reason = error.args[0]
            text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise BadPattern(f"path regex {pattern!r}: {text}") from None


def build(entries: Iterable[RouteEntry]) -> Router:
    """All at once. Raises :class:`RouteConflict` or :class:`BadPattern`."""
    builder = Builder()
    for entry in entries:
        builder.add(entry)
    return builder.finish()


def _best(regex: Regex) -> int:
    return regex.leaf.best


def _conditions(pairs: Sequence[tuple[str, str]], *, lower: bool) -> Conditions:
    """First of each name (S5.4), as the latin-1 text in which heads and queries are read."""
    if not pairs:
        return ()
    first: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower() if lower else name.encode().decode("latin-1")
        first.setdefault(key, value.encode().decode("latin-1"))
    return tuple(first.items())


def _first_segment(pattern: str) -> str:
    """The first segment of every path that *pattern* can match, or "" when that cannot be told at a glance."""
    match = None if "|" in pattern else _LITERAL_START.match(pattern)
    return "" if match is None else match.group(1)


def _groups(match: Any, names: tuple[str, ...]) -> dict[str, str]:
    """Named groups, by the rule of ``path_template.capture``; a group that took no part is empty."""
    values: dict[str, str] = {}
    for name in names:
        value = match.group(name) or ""
        values[name] = value if "/" in value else decode(value)
    return values
