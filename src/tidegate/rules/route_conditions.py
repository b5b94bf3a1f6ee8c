"""What may be asked of a request beside its host and path: method, header fields, query (S5.2, S5.4, S4.11).

A :class:`Leaf` holds all routes of one host and one path, so that choosing among them costs one dict access for each
*kind* of condition, however many routes differ in the values they ask for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from typing import Any, Final
from urllib.parse import unquote_to_bytes

Conditions = Sequence[tuple[str, str]]

_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NO_VALUES: Final[dict[str, str | None]] = {}
_COUNT_LIMIT: Final = 255
_ORDER_BITS: Final = 40


class RouteConflict(Exception):
    """Two routes match the same requests equally well (S5.2): the config is refused."""

    def __init__(self, first_name: str, second_name: str) -> None:
        super().__init__(f"routes {first_name!r} and {second_name!r} match the same requests")
        self.first_name = first_name
        self.second_name = second_name


class Candidate:
    """One way to reach a route.

    hit       what the router answers: (route, None); captures, where there are some, are filled in by the caller
    captures  what to capture (``path_template``), empty for none
    rank      the order of S5.2 behind host and path as one number, lowest first: has a method, more header
              conditions, more query conditions, earlier in the file
    """

    __slots__ = ("captures", "hit", "name", "rank")

    def __init__(
        self, route: Any, name: str, captures: tuple[tuple[str, int, int], ...], methods: int, headers: int,
        query: int, order: int,
    ) -> None:  # fmt: skip
        self.hit: tuple[Any, dict[str, str] | None] = (route, None)
        self.name = name
        self.captures = captures
        kind = (((0 if methods else 1) * 256 + _COUNT_LIMIT - headers) * 256) + _COUNT_LIMIT - query
        self.rank = (kind << _ORDER_BITS) + order


class Shape:
    """All candidates of one leaf that ask for the same header and query *names*, by the values they ask for.

    cells   values in the order of the names → method → candidate; the method ``""`` stands for any
    """

    __slots__ = ("cells", "header_names", "kind", "methods", "query_names")

    def __init__(self, kind: int, header_names: tuple[str, ...], query_names: tuple[str, ...]) -> None:
        self.kind = kind
        self.header_names = header_names
        self.query_names = query_names
        self.cells: dict[tuple[str | None, ...], dict[str, Candidate]] = {}
        self.methods: set[str] = set()
        """Of all cells."""

    def find(
        self, method: str, index: dict[str, str], values: dict[str, str | None], announced: Set[str]
    ) -> Candidate | None:
        names = self.header_names
        if announced and not announced.isdisjoint(names):
            return self._find_announced(method, index, values, announced)
        cell = self.cells.get((*map(index.get, names), *map(values.get, self.query_names)))
        return None if cell is None else _serving(cell, method)

    def _find_announced(
        self, method: str, index: dict[str, str], values: dict[str, str | None], announced: Set[str]
    ) -> Candidate | None:
        """S21.1: a field that is only announced may have any value."""
        best: Candidate | None = None
        asked = [None if name in announced else index.get(name) for name in self.header_names]
        queried = tuple(map(values.get, self.query_names))
        count = len(asked)
        for wanted, cell in self.cells.items():
            if wanted[count:] != queried:
                continue
            if any(name not in announced and have != want for name, have, want in zip(
                self.header_names, asked, wanted, strict=False)):  # fmt: skip
                continue
            candidate = _serving(cell, method)
            if candidate is not None and (best is None or candidate.rank < best.rank):
                best = candidate
        return best


class Leaf:
    """Every candidate of one host and path. Four steps, in the order of S5.2: routes with a method and conditions,
    with a method alone, with conditions alone, with nothing. Most leaves have one of them."""

    __slots__ = ("best", "by_method", "open", "shapes", "wants_query")

    def __init__(self) -> None:
        self.shapes: list[Shape] | None = None
        """With conditions, sorted by rank without file order."""
        self.by_method: dict[str, Candidate] | None = None
        self.open: Candidate | None = None
        self.wants_query = False
        self.best = -1
        """Lowest rank in here; -1 when empty."""

    def add(self, candidate: Candidate, methods: Set[str], headers: Conditions, query: Conditions) -> None:
        """Raises :class:`RouteConflict` when another candidate would match the same request equally."""
        if headers or query:
            self._add_to_shape(candidate, methods, headers, query)
        elif methods:
            if self.by_method is None:
                self.by_method = {}
            _fill(self.by_method, candidate, methods)
        elif self.open is not None:
            raise RouteConflict(self.open.name, candidate.name)
        else:
            self.open = candidate
        if self.best < 0 or candidate.rank < self.best:
            self.best = candidate.rank

    def _add_to_shape(self, candidate: Candidate, methods: Set[str], headers: Conditions, query: Conditions) -> None:
        headers, query = sorted(headers), sorted(query)
        kind = candidate.rank >> _ORDER_BITS
        header_names = tuple([name for name, _ in headers])
        query_names = tuple([name for name, _ in query])
        if self.shapes is None:
            self.shapes = []
        for shape in self.shapes:
            if shape.kind == kind and shape.header_names == header_names and shape.query_names == query_names:
                break
        else:
            shape = Shape(kind, header_names, query_names)
            self.shapes.append(shape)
            self.shapes.sort(key=_kind)
        values = tuple([value for _, value in headers] + [value for _, value in query])
        _fill(shape.cells.setdefault(values, {}), candidate, methods or {""})
        shape.methods |= methods
        self.wants_query = self.wants_query or bool(query)

    def find(self, method: str, index: dict[str, str], query: str, announced: Set[str]) -> Candidate | None:
        """The best candidate for a request, or None. *announced* is empty but for a preflight (S21.1)."""
        if self.shapes is not None:
            return self._find_conditional(self.shapes, method, index, query, announced)
        if self.by_method is not None:
            return self.by_method.get(method) or self._unconditional(method)
        return self.open

    def _unconditional(self, method: str) -> Candidate | None:
        best = None if self.by_method is None else _serving(self.by_method, method)
        return self.open if best is None else best

    def _find_conditional(
        self, shapes: list[Shape], method: str, index: dict[str, str], query: str, announced: Set[str]
    ) -> Candidate | None:
        best = self._unconditional(method)
        values = first_values(query) if self.wants_query and query else _NO_VALUES
        for shape in shapes:
            if best is not None and best.rank >> _ORDER_BITS < shape.kind:
                break
            candidate = shape.find(method, index, values, announced)
            if candidate is not None and (best is None or candidate.rank < best.rank):
                best = candidate
        return best

    def allowed(self, index: dict[str, str], query: str, announced: Set[str]) -> set[str]:
        """The methods with which a request that found nothing here would have been served (S5.5)."""
        names: set[str] = set(self.by_method) if self.by_method is not None else set()
        if self.shapes is not None:
            values = first_values(query) if self.wants_query and query else _NO_VALUES
            for shape in self.shapes:
                names.update(m for m in shape.methods if shape.find(m, index, values, announced) is not None)
        if "GET" in names:
            names.add("HEAD")
        return names


def _kind(shape: Shape) -> int:
    return shape.kind


def _serving(cell: dict[str, Candidate], method: str) -> Candidate | None:
    """GET serves HEAD too (S5.5), unless an equal route names HEAD itself."""
    return cell.get(method) or cell.get("") or (cell.get("GET") if method == "HEAD" else None)


def _fill(cell: dict[str, Candidate], candidate: Candidate, methods: Set[str]) -> None:
    for method in methods:
        if method in cell:
            raise RouteConflict(cell[method].name, candidate.name)
        cell[method] = candidate


def first_values(query: str) -> dict[str, str | None]:
    """Decoded key → decoded first value (S5.4) in latin-1 text; None where that value has a bad escape. A key with a
    bad escape is nobody's key (S4.11)."""
    values: dict[str, str | None] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        key = _decoded(name)
        if key is not None and key not in values:
            values[key] = _decoded(value)
    return values


def _decoded(text: str) -> str | None:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    return None if _BAD_ESCAPE.search(text) else unquote_to_bytes(text).decode("latin-1")
