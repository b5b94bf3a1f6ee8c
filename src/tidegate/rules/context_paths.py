"""What a request to the context plane asks for, read off its method and path (CRP 2.2)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tidegate.exchange.context_ids import read_id
from tidegate.exchange.fault import CLIENT, Fault

DISCOVERY: Final = "/.well-known/crp"
TEMPLATES: Final = "context-templates"
DICTIONARIES: Final = "context-dictionaries"

_TEMPLATE: Final = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]{0,127})@([1-9][0-9]{0,8}|latest)").fullmatch
_HASH: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_PLAIN: Final = re.compile(r"/(contexts|context-templates|context-dictionaries)(?=/|$)").search

_ALL: Final = {"GET": "list", "POST": "create"}
_ONE: Final = {"GET": "view", "PATCH": "patch", "DELETE": "delete"}
_VERBS: Final[dict[str, dict[str, str]]] = {
    "log": {"GET": "log"},
    "diff": {"GET": "diff"},
    "rollback": {"POST": "rollback"},
    "revert": {"POST": "revert"},
    "fork": {"POST": "fork"},
    "merge": {"POST": "merge"},
    "compact": {"POST": "compact"},
    "redact": {"POST": "redact"},
    "render": {"POST": "render"},
}

VERBS: Final = (
    "discover", "list", "create", "view", "patch", "delete", *_VERBS, "template_put", "template", "dictionary",
)  # fmt: skip
"""Everything that can be asked of the plane."""


class PlaneAsk(NamedTuple):
    """``verb``: one of ``VERBS``. ``id``: the canonical ``ctx_`` id; a template's name; a dictionary's hash. ``n``: the
    version of a template, 0 for the latest."""

    verb: str
    id: str = ""
    n: int = 0


def read_path(method: str, path: str, prefix: str) -> PlaneAsk:
    """What *method* on the canonical *path* asks of a route whose own path is *prefix*. HEAD asks what GET asks. Raises
    404 ``not_found`` and ``context_not_found`` (an id that was never minted is told like one that is not there),
    ``template_not_found``, and 405 ``method_not_allowed``."""
    asked = "GET" if method == "HEAD" else method
    if path == DISCOVERY:
        return PlaneAsk(_only({"GET": "discover"}, asked))
    kind, rest = _place(path, prefix)
    if kind == TEMPLATES:
        found = _TEMPLATE(rest[1:]) if rest else None
        if found is None:
            raise Fault("template_not_found", "A template is asked for as name@n.", side=CLIENT)
        verb = _only({"GET": "template", "PUT": "template_put"}, asked)
        n = 0 if found[2] == "latest" else int(found[2])
        if verb == "template_put" and not n:
            raise Fault("invalid_body", "A template is put under a number: name@1.", side=CLIENT)
        return PlaneAsk(verb, found[1], n)
    if kind == DICTIONARIES:
        if _HASH(rest[1:]) is None:
            raise Fault("not_found", "A dictionary is named by its SHA-256.", side=CLIENT)
        return PlaneAsk(_only({"GET": "dictionary"}, asked), rest[1:])
    if not rest:
        return PlaneAsk(_only(_ALL, asked))
    id, _, verb = rest[1:].partition("/")
    methods = _ONE if not verb else _VERBS.get(verb)
    if methods is None:
        raise Fault("not_found", "Contexts have no such verb.", side=CLIENT)
    name = _only(methods, asked)
    address = read_id(id)
    if address is None or address.kind != "context":
        raise Fault("context_not_found", "No context has this id.", side=CLIENT)
    return PlaneAsk(name, address.id)


def _place(path: str, prefix: str) -> tuple[str, str]:
    """Which of the three collections *path* is in, and what stands behind it."""
    own = prefix.rstrip("/")
    if own and (path == own or path.startswith(own + "/")):
        last = own.rpartition("/")[2]
        return (last if last in (TEMPLATES, DICTIONARIES) else "contexts"), path[len(own) :].rstrip("/")
    found = _PLAIN(path)
    if found is None:
        raise Fault("not_found", "The context plane has no such path.", side=CLIENT)
    return found[1], path[found.end() :].rstrip("/")


def _only(methods: dict[str, str], method: str) -> str:
    verb = methods.get(method)
    if verb is None:
        allow = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
        raise Fault("method_not_allowed", "", side=CLIENT, fields=[("allow", allow)])
    return verb
