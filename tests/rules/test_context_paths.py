"""Twin of rules/context_paths.py."""

from __future__ import annotations

import pytest

from tidegate.exchange.fault import Fault
from tidegate.rules.context_paths import VERBS, PlaneAsk, read_path

ULID = "01J9ZK3V7Q2M8N4R6T0W5X1Y3B"
CTX = "ctx_" + ULID
BASE = "/v1/contexts"


@pytest.mark.parametrize(
    ("method", "rest", "verb"),
    [("GET", "", "view"), ("HEAD", "", "view"), ("PATCH", "", "patch"), ("DELETE", "", "delete"),
     ("GET", "/log", "log"),
     ("GET", "/diff", "diff"), ("POST", "/rollback", "rollback"), ("POST", "/revert", "revert"),
     ("POST", "/fork", "fork"), ("POST", "/merge", "merge"), ("POST", "/compact", "compact"),
     ("POST", "/redact", "redact"), ("POST", "/render", "render")],
)  # fmt: skip
def test_each_verb_of_a_context(method: str, rest: str, verb: str) -> None:
    assert read_path(method, f"{BASE}/{CTX}{rest}", BASE) == PlaneAsk(verb, CTX)
    assert verb in VERBS


def test_the_collection_and_the_discovery_document() -> None:
    assert read_path("POST", BASE, BASE) == PlaneAsk("create")
    assert read_path("GET", BASE + "/", BASE) == PlaneAsk("list")
    assert read_path("GET", "/.well-known/crp", "/.well-known/crp") == PlaneAsk("discover")


def test_a_conversation_is_the_same_context() -> None:
    assert read_path("GET", f"{BASE}/conv_{ULID}", BASE).id == CTX


@pytest.mark.parametrize("prefix", ["/v1/context-templates", "/", "/v1"])
def test_templates_lie_beside(prefix: str) -> None:
    if prefix == "/v1":
        prefix = "/"
    assert read_path("PUT", "/v1/context-templates/air@3", prefix) == PlaneAsk("template_put", "air", 3)
    assert read_path("GET", "/v1/context-templates/air@latest", prefix) == PlaneAsk("template", "air", 0)


def test_dictionaries_are_named_by_their_hash() -> None:
    path = "/v1/context-dictionaries/" + "ab" * 32
    assert read_path("GET", path, "/v1/context-dictionaries") == PlaneAsk("dictionary", "ab" * 32)


def test_a_route_may_have_another_path() -> None:
    assert read_path("GET", f"/dialogues/{CTX}/log", "/dialogues") == PlaneAsk("log", CTX)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", f"{BASE}/ctx_1", "context_not_found"),
        ("GET", f"{BASE}/cv_{ULID}", "context_not_found"),
        ("GET", f"{BASE}/{CTX}/explode", "not_found"),
        ("POST", f"{BASE}/{CTX}", "method_not_allowed"),
        ("GET", f"{BASE}/{CTX}/fork", "method_not_allowed"),
        ("PUT", BASE, "method_not_allowed"),
        ("POST", "/.well-known/crp", "method_not_allowed"),
        ("GET", "/v1/context-templates", "template_not_found"),
        ("GET", "/v1/context-templates/air", "template_not_found"),
        ("GET", "/v1/context-templates/air@0", "template_not_found"),
        ("PUT", "/v1/context-templates/air@latest", "invalid_body"),
        ("GET", "/v1/context-dictionaries/xyz", "not_found"),
        ("GET", "/v1/others", "not_found"),
    ],
)
def test_what_is_not_there_is_told(method: str, path: str, code: str) -> None:
    with pytest.raises(Fault) as caught:
        read_path(method, path, BASE if path.startswith(BASE) else "/")
    assert caught.value.code == code


def test_405_names_what_is_allowed() -> None:
    with pytest.raises(Fault) as caught:
        read_path("POST", f"{BASE}/{CTX}", BASE)
    assert caught.value.fields == [("allow", "GET, PATCH, DELETE, HEAD")]
