"""Path templates (S18.5, path part): ``/Segments[:verb]``, read, ordered and captured.

A segment is a literal, ``*`` (one segment, not empty), ``**`` (the rest, also nothing; last only) or a variable
``{name=Segments}``, where ``{name}`` is ``{name=*}``. Templates of one host live in a trie, so a look-up costs as
many steps as the path has segments, not as many as there are templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from tidegate.rules.route_conditions import Leaf

MAX_SEGMENTS: Final = 64
"""No real API is deeper than about twenty; the bound keeps the depth of the trie in sight."""

REST: Final = -1
"""``end`` of a capture that takes everything up to the end of the path."""

_PIECE: Final = re.compile(r"\{([^{}=/]*)(?:=([^{}]*))?\}|([^/{}]+)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*\Z")

Capture = tuple[str, int, int]
"""(name, first segment, one past the last segment or ``REST``)."""


class BadPattern(ValueError):
    """A path, template or regex of the config that means nothing. The message is for the author of the config."""


class Template:
    """A template as read. ``segments`` holds literals, ``*`` and ``**``; a literal itself never contains ``*``."""

    __slots__ = ("captures", "segments", "verb")

    def __init__(self, segments: tuple[str, ...], verb: str, captures: tuple[Capture, ...]) -> None:
        self.segments = segments
        self.verb = verb
        self.captures = captures


def parse(text: str) -> Template:
    """Read one template, or raise :class:`BadPattern`."""
    if not text.startswith("/"):
        raise BadPattern(f"template {text!r} must begin with /")
    colon = text.rfind(":")
    if colon > max(text.rfind("/"), text.rfind("}")):
        body, verb = text[:colon], text[colon + 1 :]
        if not verb:
            raise BadPattern(f"template {text!r} ends with a verb that has no name")
    else:
        body, verb = text, ""
    segments: list[str] = []
    captures: list[Capture] = []
    position = 1
    while True:
        piece = _PIECE.match(body, position)
        if piece is None:
            raise BadPattern(f"template {text!r} cannot be read at character {position + 1}")
        name, inner, plain = piece.groups()
        if plain is not None:
            segments.append(plain)
        else:
            if not _NAME.match(name) or any(name == taken[0] for taken in captures):
                raise BadPattern(f"template {text!r} has a variable without a name of its own")
            first = len(segments)
            segments.extend(("*",) if inner is None else inner.split("/"))
            captures.append((name, first, REST if segments[-1] == "**" else len(segments)))
        position = piece.end()
        if position == len(body):
            break
        if body[position] != "/":
            raise BadPattern(f"template {text!r} cannot be read at character {position + 1}")
        position += 1
    for segment in segments:
        if not segment or ("*" in segment and segment not in ("*", "**")):
            raise BadPattern(f"template {text!r}: a segment is a literal, * or **")
    if "**" in segments[:-1]:
        raise BadPattern(f"template {text!r}: ** can only be the last segment")
    if len(segments) > MAX_SEGMENTS:
        raise BadPattern(f"template {text!r} has more than {MAX_SEGMENTS} segments")
    return Template(tuple(segments), verb, tuple(captures))


class Node:
    """What may follow one segment: known literals, any one segment, or the rest."""

    __slots__ = ("leaf", "literals", "rest", "star")

    def __init__(self) -> None:
        self.literals: dict[str, Node] = {}
        self.star: Node | None = None
        self.leaf: Leaf | None = None
        self.rest: Leaf | None = None


def plant(root: Node, template: Template) -> Leaf:
    """The leaf of *template* below *root*, made if it is the first of its shape."""
    node = root
    for segment in template.segments:
        if segment == "**":
            if node.rest is None:
                node.rest = Leaf()
            return node.rest
        following = node.star if segment == "*" else node.literals.get(segment)
        if following is None:
            following = Node()
            if segment == "*":
                node.star = following
            else:
                node.literals[segment] = following
        node = following
    if node.leaf is None:
        node.leaf = Leaf()
    return node.leaf


def climb(root: Node, segments: list[str]) -> Iterator[Leaf]:
    """Every leaf that matches, best first: literal before ``*`` before ``**``, decided from the left (S5.2). Each
    node of the trie is seen at most once, whatever the path."""
    count = len(segments)
    pending: list[tuple[Node, int]] = [(root, 0)]
    while pending:
        node, position = pending.pop()
        if position == REST:
            if node.rest is not None:
                yield node.rest
        elif position == count:
            if node.leaf is not None:
                yield node.leaf
            if node.rest is not None:
                yield node.rest
        else:
            # A stack: what is pushed last is looked at first.
            segment = segments[position]
            if node.rest is not None:
                pending.append((node, REST))
            if node.star is not None and segment:
                pending.append((node.star, position + 1))
            literal = node.literals.get(segment)
            if literal is not None:
                pending.append((literal, position + 1))


def capture(captures: tuple[Capture, ...], segments: list[str]) -> dict[str, str]:
    """The variables' values. One segment comes percent-decoded; what spans several stays as it is, or a ``%2F``
    could no longer be told from a separator. Text is latin-1 like every head (bytes of UTF-8 kept one by one)."""
    values: dict[str, str] = {}
    for name, first, end in captures:
        if end == first + 1:
            values[name] = decode(segments[first])
        else:
            values[name] = "/".join(segments[first:] if end == REST else segments[first:end])
    return values


def decode(segment: str) -> str:
    """Percent-decode one segment into latin-1 text."""
    return unquote_to_bytes(segment).decode("latin-1") if "%" in segment else segment
