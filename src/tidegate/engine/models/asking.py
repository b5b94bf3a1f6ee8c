"""What a client asks of a model: its surface, its body, the model it names, who it is. Read once, before any choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tidegate.engine.models.seals import restored
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.exchange.chat import ChatRequest
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.ledger import CallAttempt
from tidegate.ports.dialect import Dialect, Framing, Hints
from tidegate.ports.models import CallerPlan, CredentialPlan, LlmPlan, ModelPlan, ModelsPlan
from tidegate.ports.plan import RoutePlan
from tidegate.rules.body_counts import check_counts
from tidegate.rules.capability import Needs, needs_of
from tidegate.rules.conversation_name import conversation_name
from tidegate.rules.plain_talk import plain_needs
from tidegate.rules.session_model import session_model
from tidegate.rules.surfaces import Surface, framing_of
from tidegate.rules.wishes import tags_of, timeout_of
from tidegate.wire.content_coding import decode
from tidegate.wire.json_scan import scan

HINT_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "anthropic_messages": ("anthropic-version", "anthropic-beta"),
    "openai_chat": ("openai-beta",),
    "openai_responses": ("openai-beta",),
}
"""Fields of a client that belong to its dialect (LLM 5.1)."""

PLAIN: Final = frozenset({"speech", "transcriptions", "translations", "files", "uploads", "batches", "stored", "raw"})
"""Surfaces whose answers pass as bytes, whatever they are."""

STREAMS_UNASKED: Final = frozenset({"ollama_chat", "ollama_generate"})
"""Dialects whose ``stream`` is true when it is not said."""

MODEL_NAME: Final = 256
"""Characters of a model's name."""


class ModelCall:
    """One call of a model, from its head to its record. The lane fills it from top to bottom.

    body      as the client sent it, decoded; b"" when it has none
    members   the body's top level, {} when it is no JSON
    asked     the model as the client named it; ``name`` what that meant: an alias resolved
    plan      the model; ``caller`` what the caller may do
    losses    what the target that served could not be told
    attempts  every try, for the record
    """

    def __init__(
        self, runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, surface: Surface, dialect: Dialect
    ) -> None:
        plan = runtime.plan.models
        assert plan is not None and route.llm is not None
        self.runtime = runtime
        self.client = client
        self.route = route
        self.llm: LlmPlan = route.llm
        self.models: ModelsPlan = plan
        self.x = x
        self.surface = surface
        self.dialect = dialect
        self.framing: Framing = framing_of(surface.dialect, dialect.framing, x.query)  # type: ignore[assignment]
        self.caller: CallerPlan = caller_of(plan, x)
        fields = x.head.index
        self.hints = Hints(
            surface.model,
            surface.stream,
            {name: fields[name] for name in HINT_FIELDS.get(surface.dialect, ()) if name in fields},
        )
        self.body = b""
        self.members: dict[str, Any] = {}
        self.asked = surface.model
        self.name = ""
        self.plan: ModelPlan | None = None
        self.stream = bool(surface.stream)
        self.plain = surface.kind in PLAIN
        """The answer is bytes that nobody here reads."""
        self.query = ""
        """Parameters of the client that travel on."""
        self.form: RequestBody | None = None
        """The body, where it streams through and is never held whole."""
        self.media: dict[str, tuple[str, bytes]] = {}
        """What links of the client lead to: URL -> (type, base64), for targets that take bytes only."""
        self.losses: tuple[str, ...] = ()
        self.clamped = ""
        self.attempts: list[CallAttempt] = []
        self.deadline = x.deadline
        timeout = timeout_of(x.head.index.get("tidegate-timeout", ""))
        if timeout:
            self.deadline = min(self.deadline, x.started + timeout)
        self.tags = tags_of(x.head.index.get("tidegate-tags", ""))
        """What the client wants its record to be found by."""
        self.credential: CredentialPlan | None = None
        """Who pays for the try that is under way."""
        self.account: Any = None
        """Its ``accounting.Account``, once it has one."""
        self.turn: Any = None
        """Its ``contexts.turn.Turn``, where it is one of a kept conversation."""
        self.sent = False
        """The target that is being tried has heard the request."""
        self.composed = False
        """The conversation is not the client's own."""
        self.composer: Callable[[], ChatRequest] | None = None
        """Makes the whole of a kept conversation, of which ``request`` holds the newest turns alone."""
        self._request: ChatRequest | None = None
        self._needs: Needs | None = None
        self._conversation: str | None = None

    @property
    def conversation(self) -> str:
        """What the conversation is known by; found when first wanted, because few strategies ask."""
        name = self._conversation
        if name is None:
            kept = self.turn.id if self.turn is not None else ""
            given = kept or self.x.head.index.get("context-id", "")
            name = self._conversation = conversation_name(self.members, given, self.caller.consumer)
        return name

    @property
    def request(self) -> ChatRequest:
        """The neutral conversation; read when first wanted, because bytes that pass need none. Raises
        ``invalid_request``, also for what is more than anybody may ask for."""
        request = self._request
        if request is None:
            runtime = self.runtime
            check_counts(self.members)
            read = self.dialect.read_request(self.body, self.hints)
            request = restored(runtime.models.seals, self.caller.tenant, read, runtime.clock())
            self._request = request
        return request

    @property
    def needs(self) -> Needs:
        """What the call needs of a model."""
        needs = self._needs
        if needs is None:
            if self._request is None and self.dialect.name == "openai_chat":
                needs = plain_needs(self.members)
            if needs is None:
                needs = needs_of(self.request)
            self._needs = needs
        return needs

    def ask_instead(self, request: ChatRequest) -> None:
        """Another conversation takes the place of the client's (a step of a pipeline): bytes do not pass."""
        self._request = request
        self._needs = None
        self.composed = True
        self.composer = None

    def ask_behind(self, request: ChatRequest, needs: Needs, composer: Callable[[], ChatRequest]) -> None:
        """The client's conversation is a kept one, of which *request* has the settings and the newest turns."""
        self._request = request
        self._needs = needs
        self.composed = True
        self.composer = composer

    def whole_request(self) -> ChatRequest:
        """The request with every turn in it."""
        return self.request if self.composer is None else self.composer()

    def reread(self, body: bytes) -> None:
        """The body has been rewritten."""
        self.body = body
        self._request = None

    def clamp(self, output: int, choices: int) -> None:
        """Lower what the client asked for. The neutral form says it; bytes do not pass any more."""
        request = self.request
        sampling = msgspec.structs.replace(request.sampling, n=choices)
        needs = self._needs if self.composer is not None else None
        self._request = msgspec.structs.replace(request, max_output=output or None, sampling=sampling)
        self._needs = msgspec.structs.replace(needs, output=output, choices=choices) if needs is not None else None

    def bare_request(self) -> ChatRequest:
        """The request as far as it is known without reading it: for writers that only frame."""
        if self._request is not None:
            return self._request
        return ChatRequest(self.asked, stream=self.stream)

    def wish(self, name: str) -> str:
        """A client's ``tidegate-<name>`` (LLM 15), "" when it has none. It never travels on."""
        return self.x.head.index.get("tidegate-" + name, "")


def caller_of(plan: ModelsPlan, x: Exchange) -> CallerPlan:
    """What the verified caller may do; somebody the config does not name is bound by the tenant alone."""
    identity = x.identity
    if identity is None:
        return CallerPlan("")
    return plan.callers.of(identity.consumer, identity.key_id, identity.tenant)


def no_model() -> Fault:
    return Fault("invalid_request", "model must be the name of a model.", side=CLIENT, reason="model")


async def read_json(call: ModelCall, body: RequestBody | None) -> None:
    """Take the client's JSON through the strict gate (S3.5)."""
    x = call.x
    limit = call.llm.body
    whole = x.body
    if whole is None:
        if body is None:
            raise Fault("invalid_request", "The call has no body.", side=CLIENT)
        if body.length > limit:
            raise Fault("body_too_large", "The body is larger than this route allows.", side=CLIENT, close=True)
        body.limit = limit
        if x.head.expect_continue and not body.complete and body.received == 0:
            call.client.send_continue()
        await body.gather()
        whole = body.whole()
        coding = x.head.index.get("content-encoding", "")
        kind = x.head.index.get("content-type", "")
        if call.route.contexts is not None and call.runtime.contexts is not None and (coding or "msgpack" in kind):
            whole = call.runtime.contexts.as_json(kind, coding, whole, limit)
        elif coding:
            whole = decode(coding, whole, limit)
    members = scan(whole, max_size=limit)
    if not isinstance(members, dict):
        raise Fault("invalid_request", "The body must be an object.", side=CLIENT)
    call.body = whole
    call.members = members


async def read_body(call: ModelCall, body: RequestBody | None) -> None:
    """The client's JSON, and what every surface has at its top level."""
    await read_json(call, body)
    members = call.members
    if not call.surface.model:
        model = session_model(members) if call.surface.kind == "realtime_secrets" else members.get("model")
        if model is None and call.route.contexts is not None and call.surface.kind == "chat":
            model = ""  # a conversation may know
        elif not isinstance(model, str) or not 0 < len(model) <= MODEL_NAME or not model.isprintable():
            raise no_model()
        call.asked = model
    if call.surface.stream is None:
        stream = members.get("stream")
        if stream is None:
            stream = call.surface.dialect in STREAMS_UNASKED and call.surface.kind == "chat"
        elif not isinstance(stream, bool):
            raise Fault("invalid_request", "stream must be true or false.", side=CLIENT, reason="stream")
        call.stream = stream
    if "provider_options" in members:
        call.request  # noqa: B018 - read now: bytes may not pass
    if ("context_id" in members or "delta_updates" in members) and call.route.contexts is None:
        raise Fault("unsupported_level", "This route keeps no contexts.", side=CLIENT)
