"""What a request to a model route asks for, read off its method and path (LLM 2).

The path decides the dialect, never a field that carries a key. Paths are canonical (``rules/canonical``): escapes of
unreserved characters are decoded, the others are upper case. Model ids and object ids are decoded once, here, and are
names from then on; they match no route.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.canonical import query_value, unescape

GEMINI_VERSIONS: Final = frozenset({"v1", "v1beta", "v1alpha", "v1beta1"})

OBJECT_ID: Final = 512
"""Characters of a model's or an object's id."""


class Surface(NamedTuple):
    """One call.

    kind     as ``ports.provider.Surface`` names doors: ``chat completions embeddings images ... realtime``; also
             ``count_tokens`` and ``tokenize`` (how long an input is), ``stored`` (a stored response),
             ``conversations`` (kept ones), ``models`` (the catalogue), ``show`` (one model of it)
    dialect  whose words the client speaks, in faults too
    model    from the path, "" where the body names it
    stream   from the path, None where the body says it
    path     of Gemini's calls the action; else what to ask of the owner of an object: the path behind its collection
             (``/file-1/content``), "" for the collection itself; of ``models`` the id asked for
    """

    kind: str
    dialect: str
    model: str = ""
    stream: bool | None = None
    path: str = ""


CALLS: Final[dict[str, tuple[str, str]]] = {
    "/v1/chat/completions": ("chat", "openai_chat"),
    "/v1/responses": ("chat", "openai_responses"),
    "/v1/responses/input_tokens": ("count_tokens", "openai_responses"),
    "/v1/responses/compact": ("compact", "openai_responses"),
    "/v1/completions": ("completions", "openai_completions"),
    "/v1/embeddings": ("embeddings", "openai_embeddings"),
    "/v1/images/generations": ("images", "openai_chat"),
    "/v1/images/edits": ("images_edits", "openai_chat"),
    "/v1/images/variations": ("images_variations", "openai_chat"),
    "/v1/audio/speech": ("speech", "openai_chat"),
    "/v1/audio/transcriptions": ("transcriptions", "openai_chat"),
    "/v1/audio/translations": ("translations", "openai_chat"),
    "/v1/moderations": ("moderations", "openai_chat"),
    "/v1/rerank": ("rerank", "cohere_chat"),
    "/v2/rerank": ("rerank", "cohere_chat"),
    "/v1/messages": ("chat", "anthropic_messages"),
    "/v1/messages/count_tokens": ("count_tokens", "anthropic_messages"),
    "/v2/chat": ("chat", "cohere_chat"),
    "/v2/embed": ("embeddings", "cohere_embeddings"),
    "/api/chat": ("chat", "ollama_chat"),
    "/api/generate": ("chat", "ollama_generate"),
    "/api/embed": ("embeddings", "ollama_embeddings"),
    "/api/show": ("show", "ollama_chat"),
    "/tokenize": ("tokenize", "openai_chat"),
    "/v1/tokenize": ("tokenize", "openai_chat"),
    "/v1/realtime/client_secrets": ("realtime_secrets", "openai_chat"),
}
"""Path -> (kind, dialect) of what is asked with POST."""

OBJECTS: Final[tuple[tuple[str, str, str], ...]] = (
    ("/v1/files", "files", "openai_chat"),
    ("/v1/uploads", "uploads", "openai_chat"),
    ("/v1/batches", "batches", "openai_chat"),
    ("/v1/messages/batches", "batches", "anthropic_messages"),
    ("/v1/responses", "stored", "openai_responses"),
    ("/v1/conversations", "conversations", "openai_responses"),
)
"""Collections whose objects belong to one provider (LLM 7)."""

GEMINI_ACTIONS: Final[dict[str, tuple[str, bool | None]]] = {
    "generateContent": ("chat", False),
    "streamGenerateContent": ("chat", True),
    "countTokens": ("count_tokens", None),
    "embedContent": ("embeddings", None),
    "batchEmbedContents": ("embeddings", None),
}

CONVERSE_VERBS: Final[dict[str, tuple[str, bool | None]]] = {
    "converse": ("chat", False),
    "converse-stream": ("chat", True),
    "count-tokens": ("count_tokens", None),
}


def surface_of(method: str, path: str, fields: dict[str, str]) -> Surface:
    """What is asked. Raises ``not_found`` for a path nobody serves and ``method_not_allowed`` for a method nobody
    takes there."""
    call = CALLS.get(path)
    if call is not None and (method == "POST" or path != "/v1/responses"):
        if method != "POST":
            raise _only("POST")
        return Surface(call[0], call[1])
    if path == "/v1/realtime":
        if method != "GET":
            raise _only("GET")
        return Surface("realtime", "openai_chat", stream=True)
    if path == "/api/tags":
        if method != "GET":
            raise _only("GET")
        return Surface("models", "ollama_chat")
    segments = path.split("/")[1:]
    if segments[0] == "model" and len(segments) == 3:
        return _converse(method, segments)
    if segments[0] in GEMINI_VERSIONS and "models" in segments:
        found = _model_path(method, segments, fields)
        if found is not None:
            return found
    for place, kind, dialect in OBJECTS:
        if path == place or path.startswith(place + "/"):
            return _object(method, path, place, kind, dialect_of(path, fields) if kind == "files" else dialect, fields)
    raise unknown_path(path)


def dialect_of(path: str, fields: dict[str, str]) -> str:
    """The dialect nearest to *path*, for faults of requests that never became a call."""
    call = CALLS.get(path)
    if call is not None:
        return call[1]
    if path.startswith("/v1/messages"):
        return "anthropic_messages"
    if path.startswith(("/v1/responses", "/v1/conversations")):
        return "openai_responses"
    segments = path.split("/")
    first = segments[1] if len(segments) > 1 else ""
    if first == "model":
        return "bedrock_converse"
    if first == "v2":
        return "cohere_chat"
    if first == "api":
        return "ollama_chat"
    if first in GEMINI_VERSIONS:
        if first != "v1" or ("models" in segments and ":" in segments[-1].replace("%3A", ":")):
            return "gemini_generate"
        if path.startswith(("/v1/models", "/v1/files")):
            if "anthropic-version" in fields:
                return "anthropic_messages"
            if "x-goog-api-key" in fields:
                return "gemini_generate"
    return "openai_chat"


def framing_of(dialect: str, own: str, query: str) -> str:
    """How the client wants its stream framed: *own* is the dialect's. Gemini's is one JSON array unless ``alt=sse``."""
    if dialect == "gemini_generate" and query_value(query, "alt") != "sse":
        return "array"
    return own


def unknown_path(path: str) -> Fault:
    """404; a path without its version says which one was meant."""
    for known in CALLS:
        if known.startswith("/v") and path == known[3:]:
            return Fault("not_found", f"The path is {known}: the base URL ends in {known[:3]}.", side=CLIENT)
    return Fault("not_found", "No model surface has this path.", side=CLIENT)


def _converse(method: str, segments: list[str]) -> Surface:
    verb = CONVERSE_VERBS.get(segments[2])
    if verb is None:
        raise unknown_path("/model")
    if method != "POST":
        raise _only("POST")
    return Surface(verb[0], "bedrock_converse", _name(segments[1]), verb[1])


def _model_path(method: str, segments: list[str], fields: dict[str, str]) -> Surface | None:
    """``/{v}/models...``, with Vertex's project, location and publisher in front or not; None when it is neither the
    catalogue nor an action."""
    place = 1
    if segments[place : place + 1] == ["projects"] and segments[place + 2 : place + 3] == ["locations"]:
        place += 4
    if segments[place : place + 1] == ["publishers"]:
        place += 2
    if segments[place : place + 1] != ["models"]:
        return None
    rest = segments[place + 1 :]
    if method == "GET":
        dialect = dialect_of("/" + "/".join(segments[:place]) + "/models", fields)
        if place > 1:
            dialect = "gemini_generate"
        return Surface("models", dialect, path=_name("/".join(rest)) if rest else "")
    if not rest:
        raise _only("GET")
    name, colon, action = _name("/".join(rest)).rpartition(":")
    known = GEMINI_ACTIONS.get(action)
    if not colon or not name or known is None:
        return None
    if method != "POST":
        raise _only("POST")
    dialect = "gemini_embeddings" if known[0] == "embeddings" else "gemini_generate"
    return Surface(known[0], dialect, name, known[1], action)


def _object(
    method: str, path: str, place: str, kind: str, dialect: str, fields: dict[str, str]
) -> Surface:  # fmt: skip
    rest = path[len(place) :]
    if kind == "stored":
        if not rest:
            if method == "GET" and "upgrade" in fields:
                return Surface("socket", dialect, stream=True)
            raise _only("POST")
        if method not in ("GET", "DELETE") and not (method == "POST" and rest.endswith("/cancel")):
            raise _only("GET, DELETE")
    elif method not in ("GET", "POST", "DELETE"):
        raise _only("GET, POST, DELETE")
    if "%" in rest or len(rest) > OBJECT_ID:
        raise Fault("not_found", "No object has this name.", side=CLIENT)
    return Surface(kind, dialect, path=rest)


def _name(text: str) -> str:
    """A model's name as it stands in a path, decoded once."""
    name = unescape(text)
    if not name or len(name) > OBJECT_ID or not name.isprintable():
        raise Fault("model_not_found", "The path names no model.", side=CLIENT)
    return name


def _only(methods: str) -> Fault:
    return Fault("method_not_allowed", "", side=CLIENT, fields=[("allow", methods)])
