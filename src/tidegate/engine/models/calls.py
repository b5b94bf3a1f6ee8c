"""One call of one target: its words, its credential, a connection, the head of its answer (LLM 9.1, 7).

A model's target is an upstream like any other, with its pools, endpoints and health. What a plain upstream does about
failures (breaker, retries, fallbacks) is left out: models have a loop of their own, in ``trying.py``.
"""

from __future__ import annotations

from typing import Final

from tidegate.engine.clock import NEVER, Timer
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import Candidate, emulates
from tidegate.engine.models.signing import learnt_skew, pick_credential, sign, signed_fields, token_of
from tidegate.engine.models.standing import ModelStates
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import Side
from tidegate.engine.steps import Wait
from tidegate.engine.upstream.attempts import pick
from tidegate.engine.upstream.gatherer import Gatherer
from tidegate.engine.upstream.http1_client import Http1Client
from tidegate.engine.upstream.pool import Pool
from tidegate.engine.upstream.upstream import Upstream
from tidegate.exchange.fault import IF_IDEMPOTENT, NOT_PROCESSED, UPSTREAM, Fault
from tidegate.exchange.head import Fields, ResponseHead
from tidegate.ports.balancer import Endpoint
from tidegate.ports.dialect import Outgoing
from tidegate.ports.models import CredentialPlan
from tidegate.rules.emulated_output import emulated
from tidegate.rules.media_links import inlined
from tidegate.rules.session_model import with_session_model
from tidegate.rules.speaking_voice import with_voice
from tidegate.wire.content_coding import decode
from tidegate.wire.http1 import encode_request, field_lines

REFUSAL_SIZE: Final = 256 * 1024
"""Bytes of a refusal that are read."""

SIGNATURE_REFUSED: Final = (400, 401, 403)
"""What clouds answer to a signature that is not of their time."""

NO_SIDE: Final = Side()


class Reached:
    """A target that has answered with a head; its body is still to be taken.

    credential   who paid
    aliases      tool names as they were sent, for the reader of the answer
    output_tool  the tool whose call stands for structured output, "" for none
    part         what came of a body that broke off
    """

    __slots__ = (
        "aliases", "at", "begun", "candidate", "connection", "credential", "endpoint", "head", "losses", "output_tool",
        "over", "part", "runtime", "upstream",
    )  # fmt: skip

    def __init__(
        self, runtime: Runtime, candidate: Candidate, upstream: Upstream, endpoint: Endpoint, connection: Http1Client,
        begun: float,
    ) -> None:  # fmt: skip
        self.runtime = runtime
        self.candidate = candidate
        self.upstream = upstream
        self.endpoint = endpoint
        self.connection = connection
        self.begun = begun
        self.at = begun
        self.head = ResponseHead(0, "", [])
        self.credential: CredentialPlan | None = None
        self.aliases: dict[str, str] = {}
        self.output_tool = ""
        self.losses: tuple[str, ...] = ()
        self.part = b""
        self.over = False

    def done(self, kind: str) -> None:
        """The answer has been taken, or never will be: *kind* as ``Health.ended`` wants it. Once."""
        if self.over:
            return
        self.over = True
        outcomes = self.upstream.outcomes
        outcomes[kind] = outcomes.get(kind, 0) + 1
        self.upstream.health.ended(self.endpoint, self.runtime.clock(), self.at - self.begun, kind)
        if kind != "ok":
            self.connection.close()
        self.connection.release()


class Words:
    """A request as one target will hear it; ``sent``: it has."""

    __slots__ = ("aliases", "body", "credential", "fields", "losses", "output_tool", "path", "query", "sent")

    def __init__(self) -> None:
        self.body = b""
        self.path = ""
        self.query = ""
        self.fields: dict[str, str] = {}
        self.losses: tuple[str, ...] = ()
        self.aliases: dict[str, str] = {}
        self.output_tool = ""
        self.credential: CredentialPlan | None = None
        self.sent = False


def words_for(call: ModelCall, candidate: Candidate, states: ModelStates, now: float) -> Words:
    """The body, path and fields for *candidate*. Raises ``translation_loss`` where losses are refused."""
    words = Words()
    door = candidate.door
    dialect = door.dialect
    voice = candidate.voice
    fields: dict[str, str] = {"content-type": "application/json"} if call.body else {}
    fields["accept"] = "text/event-stream" if call.stream and call.surface.kind in ("chat", "completions") else "*/*"
    fields["accept-encoding"] = "identity"
    fields["user-agent"] = "tidegate"
    for name, value in door.fields:
        fields[name] = value
    if call.form is not None:
        fields["content-type"] = call.x.head.index.get("content-type", "application/octet-stream")
    elif candidate.passes:
        speaker = dialect or call.dialect
        ask = call.stream and voice.usage_chunk == "ask" and not wants_usage(call)
        in_path = dialect is not None and dialect.model_in_path
        if call.surface.kind == "realtime_secrets":
            words.body = with_session_model(call.body, call.members, candidate.model)
        elif (candidate.model != call.asked and not in_path) or ask:
            words.body = speaker.splice(call.body, candidate.model, ask)
        else:
            words.body = call.body
        fields.update(call.hints.fields)
    else:
        assert dialect is not None
        outgoing: Outgoing | None = None
        emulating = emulates(call, candidate)
        if call.turn is not None and not call.media and not emulating:
            outgoing = call.turn.outgoing(candidate)
        if outgoing is None:
            request = call.request if call.turn is None else call.turn.prompt(candidate)
            if call.media:
                request = inlined(request, dialect.name, voice.lacks, call.media)
            if emulating:
                made = emulated(request)
                request, words.output_tool, words.losses = made.request, made.tool, made.losses
            outgoing = dialect.write_request(request, voice)
        words.body = outgoing.body
        words.losses += outgoing.losses
        words.aliases = outgoing.aliases
        for name, value in outgoing.fields:
            fields[name] = value
    if call.surface.kind == "speech" and call.plan is not None and call.plan.voices:
        words.body, words.losses = with_voice(words.body, call.members.get("voice"), call.plan.voices)
    if words.losses and refuses_loss(call):
        raise Fault("translation_loss", f"The target cannot say {', '.join(words.losses[:8])}.", side="client",
                    reason="loss")  # fmt: skip
    path = door.stream_path if call.stream and door.stream_path else door.path
    if dialect is not None:
        if candidate.passes and call.surface.model and call.surface.kind == "embeddings":
            path = path.replace("{action}", call.surface.path)
        path = dialect.path(path, candidate.model, call.stream)
    words.path, _, words.query = path.partition("?")
    provider = candidate.target.provider
    words.credential, _ = pick_credential(provider, candidate.model, states, now)
    call.credential = words.credential
    if len(provider.credentials) > 1:
        states.turns[provider.name] = states.turns.get(provider.name, 0) + 1
    token = token_of(provider, words.credential, call.runtime.tools.access_tokens, states, now)
    signed = sign(words.credential, token, door.surface)
    for name, value in signed.fields:
        fields[name] = value
    if call.query:
        words.query += "&" + call.query if words.query else call.query
    for name, value in door.query + signed.query:
        words.query += f"&{name}={value}" if words.query else f"{name}={value}"
    x = call.x
    if x.trace_id:
        fields["traceparent"] = f"00-{x.trace_id}-{x.span_id}-{'01' if x.sampled else '00'}"
    words.fields = fields
    return words


def wants_usage(call: ModelCall) -> bool:
    """Did the client itself ask for the usage chunk?"""
    options = call.members.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def refuses_loss(call: ModelCall) -> bool:
    plan = call.plan
    return (
        call.llm.loss == "refuse" or (plan is not None and plan.loss == "refuse") or call.wish("loss") == "refuse"
    )  # fmt: skip


async def call_target(call: ModelCall, candidate: Candidate, words: Words) -> Reached:
    """Send *words* to *candidate* and wait for a head that is no refusal. Raises a Fault of LLM 5.11 otherwise."""
    runtime = call.runtime
    reached = await send(call, candidate, words, call.x.method)
    if reached.head.status in SIGNATURE_REFUSED and learnt_skew(
        words.credential, candidate.door.upstream, reached.head.get("date") or "", runtime.models, runtime.wall()
    ):
        await refusal(call, reached)
        reached = await send(call, candidate, words, call.x.method)
    reached.credential = words.credential
    reached.losses = words.losses
    reached.aliases = words.aliases
    reached.output_tool = words.output_tool
    head = reached.head
    if 200 <= head.status < 300:
        return reached
    raise await refusal(call, reached)


async def send(call: ModelCall, candidate: Candidate, words: Words, method: str) -> Reached:
    """One request on one connection. An idle connection that turns out dead is replaced by a new one, once."""
    runtime = call.runtime
    upstream = runtime.upstreams.get(candidate.door.upstream) or runtime.removed.get(candidate.door.upstream)
    if upstream is None:
        raise Fault("upstream_unavailable", "The provider has no upstream.", reason="no_target", side=UPSTREAM,
                    retry=NOT_PROCESSED)  # fmt: skip
    fresh = False
    while True:
        stale: Fault | None = None
        try:
            return await send_once(call, candidate, upstream, words, method, fresh)
        except Fault as fault:
            if fresh or fault.reason != "stale_connection":
                raise
            stale = fault
        if stale is not None:
            fresh = True


async def send_once(
    call: ModelCall, candidate: Candidate, upstream: Upstream, words: Words, method: str, fresh: bool
) -> Reached:
    runtime = call.runtime
    now = runtime.clock()
    x = call.x
    endpoint = pick(runtime, upstream, x, [], now)
    x.upstream = upstream.plan.name
    host = upstream.host or call_host(upstream, endpoint)
    fields: Fields = [("host", host), *words.fields.items()]
    target = upstream.base_paths[endpoint.key] + words.path
    if words.query:
        target += "?" + words.query
    if words.credential is not None and words.credential.signer:
        wall = runtime.wall() + runtime.models.skews.get(upstream.plan.name, 0.0)
        fields += signed_fields(words.credential, method, host, target, words.body, wall)
    upstream.health.started(endpoint)
    reached: Reached | None = None
    connection: Http1Client | None = None
    kind = "cancelled"
    try:
        pool: Pool = endpoint.state  # type: ignore[assignment]
        if not fresh:
            connection = pool.take(now)
        if connection is None:
            connection = await (pool.fresh() if fresh else pool.connect())
            assert connection is not None
        reached = Reached(runtime, candidate, upstream, endpoint, connection, now)
        body = call.form
        length = len(words.body)
        if body is not None:
            length = body.length
        elif words.body:
            body = RequestBody(runtime.steps, NO_SIDE, len(words.body), len(words.body))
            body.pieces = [words.body]
            body.received = len(words.body)
            body.complete = True
        head = encode_request(method, target, field_lines(fields), length)
        call.sent = words.sent = True
        reached.head = await timed(runtime, connection, connection.send(head, method, body, None),
                                   min(now + first_wait(call, candidate), call.deadline))  # fmt: skip
        reached.at = runtime.clock()
        x.upstream_status = reached.head.status
        return reached
    except Fault as fault:
        kind = "connect" if fault.retry == NOT_PROCESSED else "gateway" if fault.side == UPSTREAM else "cancelled"
        raise
    finally:
        if reached is None or not reached.head.status:
            outcomes = upstream.outcomes
            outcomes[kind] = outcomes.get(kind, 0) + 1
            ended = runtime.clock()
            upstream.health.ended(endpoint, ended, ended - now, kind)
            if connection is not None:
                connection.close()


def first_wait(call: ModelCall, candidate: Candidate) -> float:
    """Seconds that *candidate* has until its first content: its provider's, or the route's when those are fewer."""
    return min(call.llm.first, candidate.target.provider.first)


def call_host(upstream: Upstream, endpoint: Endpoint) -> str:
    """The provider's own name: a client's Host means nothing there (S4.8)."""
    port = endpoint.port
    return endpoint.host if port == (443 if endpoint.scheme == "https" else 80) else f"{endpoint.host}:{port}"


async def timed(runtime: Runtime, connection: Http1Client, wait: Wait, until: float) -> ResponseHead:
    """*wait*, but at *until* the connection fails with ``upstream_timeout``."""
    timer = Timer(lambda: connection.fail(late()))
    runtime.wheel.set(timer, until)
    try:
        head: ResponseHead = await wait
        return head
    finally:
        timer.when = NEVER


def late() -> Fault:
    return Fault("upstream_timeout", "The model took too long.", reason="first", side=UPSTREAM, retry=IF_IDEMPOTENT)


async def refusal(call: ModelCall, reached: Reached) -> Fault:
    """What the target's refusal means."""
    head = reached.head
    body = b""
    try:
        body = await whole_body(call, reached, REFUSAL_SIZE)
    except Fault:
        pass  # its status says enough
    fields = dict(head.fields)
    status = head.status
    if 300 <= status < 400:
        status = 502  # a provider's door does not move (redirects are never followed)
    speaker = reached.candidate.door.dialect or call.dialect
    fault = speaker.read_fault(status, fields, body, call.runtime.wall())
    reason = reached.candidate.target.provider.faults.get(head.status)
    if reason:
        fault = Fault("bad_upstream", fault.detail, reason=reason, side=UPSTREAM, retry=fault.retry,
                      retry_after=fault.retry_after)  # fmt: skip
    return fault


async def whole_body(call: ModelCall, reached: Reached, limit: int) -> bytes:
    """The whole body of an answer, decoded; the connection is given back. Raises ``upstream_too_large``,
    ``upstream_timeout`` and what breaks."""
    runtime = call.runtime
    connection = reached.connection
    head = reached.head
    kind = "cancelled"
    try:
        if connection.ended:
            body = connection.taken()
        else:
            gatherer = Gatherer(connection, limit)
            wait = connection.relay(gatherer)
            timer = Timer(lambda: connection.fail(late()))
            runtime.wheel.set(timer, min(reached.begun + first_wait(call, reached.candidate), call.deadline))
            try:
                await wait
            except Fault:
                reached.part = b"".join(gatherer.pieces)
                raise
            finally:
                timer.when = NEVER
            body = gatherer.body()
        kind = "ok"
    except Fault as fault:
        kind = "gateway" if fault.side == UPSTREAM else "cancelled"
        raise
    finally:
        reached.done(kind)
    coding = head.get("content-encoding") or ""
    if coding and coding != "identity":
        body = decode_answer(coding, body, limit)
    return body


def decode_answer(coding: str, body: bytes, limit: int) -> bytes:
    """A provider that compresses though it was asked not to."""
    try:
        return decode(coding, body, limit)
    except Fault:
        raise Fault("bad_upstream", "The answer does not match its encoding.", reason="protocol",
                    side=UPSTREAM) from None  # fmt: skip
