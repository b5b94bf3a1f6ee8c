"""Realtime sessions: a tunnel to a provider's socket with the provider's key, in which usage is heard (LLM 7).

Money is set aside for one answer at a time and booked with each ``response.done``; when there is none left the client
gets an ``error`` event and the socket closes with 1008.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.engine.lanes.tunnel import WebSocketTunnel, through
from tidegate.engine.models.accounting import Account
from tidegate.engine.models.asking import MODEL_NAME, ModelCall
from tidegate.engine.models.calls import call_host, timed
from tidegate.engine.models.choosing import Candidate, awake, candidates_of, in_order, resolve
from tidegate.engine.models.signing import pick_credential, sign, token_of
from tidegate.engine.models.trying import enter, leave, rest
from tidegate.engine.steps import Stepper
from tidegate.engine.upstream.attempts import Reached, pick
from tidegate.engine.upstream.http1_client import Http1Client
from tidegate.engine.upstream.pool import Pool
from tidegate.exchange.chat import Usage
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Fields
from tidegate.rules.canonical import query_value
from tidegate.rules.client_key import SUBPROTOCOL
from tidegate.rules.fallback import row_of
from tidegate.rules.plain_usage import count
from tidegate.wire.http1 import encode_request, field_lines
from tidegate.wire.websocket import POLICY, close_frame
from tidegate.wire.websocket_text import TextWatch

HEARD: Final = 1 << 20
"""Bytes of a message that may hold usage."""

WATCHED: Final = 64 * 1024
"""Bytes of a client's message that is looked at."""

SOCKET_FIELDS: Final = ("sec-websocket-key", "sec-websocket-version", "openai-beta")


async def serve_realtime(call: ModelCall) -> None:
    """Serve one session. Raises the Fault of what keeps it from beginning."""
    x = call.x
    if x.head.upgrade != "websocket":
        raise Fault("upgrade_required", "A realtime session is a WebSocket.", side=CLIENT,
                    fields=[("upgrade", "websocket")])  # fmt: skip
    model = query_value(x.query, "model") or ""
    if not 0 < len(model) <= MODEL_NAME or not model.isprintable():
        raise Fault("invalid_request", "model must be named in the query.", side=CLIENT, reason="model")
    call.asked = model
    resolve(call)
    account = Account(call)
    account.refuse_if_exhausted()
    states = call.runtime.models
    ready, _ = awake(candidates_of(call, states), states, call.runtime.clock())
    candidate = in_order(call, ready, states)[0]
    await account.admit()
    await account.open([candidate])
    tunnel = RealtimeTunnel(call, account, candidate)
    keys = enter(call, candidate, states, call.runtime.clock())
    fault: Fault | None = None
    try:
        reached = await connect(call, candidate, tunnel)
        await through(call.runtime, call.route, x, reached, tunnel)
    except Fault as raised:
        fault = raised
        raise
    finally:
        leave(candidate, states)
        if fault is not None:
            rest(call, candidate, keys, row_of(fault).counts, fault, call.runtime.clock(), call.credential)
        tunnel.account.close(fault)


def refuse_unheard(call: ModelCall) -> None:
    """A secret lets its holder talk to the provider itself, where nothing is heard here: what cannot be booked or
    counted is not for callers with budgets or limits of tokens (rule 7)."""
    plan = call.plan
    caller = call.caller
    if caller.budgets or (plan is not None and plan.budgets):
        raise Fault("price_unknown", "What a session with this secret will cost is not known: there is a budget.",
                    reason="price_unknown", side=CLIENT)  # fmt: skip
    if caller.tokens or (plan is not None and plan.tokens is not None):
        raise Fault("forbidden", "The tokens of a session with this secret are not counted: there is a limit.",
                    reason="surface_denied", side=CLIENT)  # fmt: skip


async def connect(call: ModelCall, candidate: Candidate, tunnel: RealtimeTunnel) -> Reached:
    """The provider's answer to our upgrade: its 101."""
    runtime = call.runtime
    x = call.x
    door = candidate.door
    upstream = runtime.upstreams.get(door.upstream) or runtime.removed[door.upstream]
    now = runtime.clock()
    endpoint = pick(runtime, upstream, x, [], now)
    provider = candidate.target.provider
    credential, _ = pick_credential(provider, candidate.model, runtime.models, now)
    call.credential = credential
    token = token_of(provider, credential, runtime.tools.access_tokens, runtime.models, now)
    signed = sign(credential, token, door.surface)
    index = x.head.index
    fields: Fields = [("host", upstream.host or call_host(upstream, endpoint)), ("user-agent", "tidegate")]
    fields += [(name, index[name]) for name in SOCKET_FIELDS if name in index]
    protocols = ", ".join(kept_protocols(index.get("sec-websocket-protocol", "")))
    if protocols:
        fields.append(("sec-websocket-protocol", protocols))
    fields += [*door.fields, *signed.fields, ("connection", "Upgrade"), ("upgrade", "websocket")]
    query = "&".join([f"{name}={value}" for name, value in (("model", candidate.model), *door.query, *signed.query)])
    target = f"{upstream.base_paths[endpoint.key]}{door.path}?{query}"
    upstream.health.started(endpoint)
    x.attempts += 1
    connection: Http1Client | None = None
    reached: Reached | None = None
    try:
        pool: Pool = endpoint.state  # type: ignore[assignment]
        connection = await pool.fresh()
        assert connection is not None
        connection.tunnel = tunnel
        wait = connection.send(encode_request("GET", target, field_lines(fields), 0), "GET", None, None)
        head = await timed(runtime, connection, wait, min(now + call.llm.first, call.deadline))
        x.upstream_status = head.status
        if head.status != 101:
            dialect = call.dialect
            raise dialect.read_fault(head.status, dict(head.fields), connection.taken(), runtime.wall())
        head.fields = [field for field in head.fields if field[0].startswith("sec-websocket-") or field[0] == "upgrade"]
        ended = runtime.clock()
        reached = Reached(upstream, endpoint, connection, head, ended - now, ended)
        return reached
    finally:
        if reached is None:
            upstream.health.ended(endpoint, runtime.clock(), runtime.clock() - now, "cancelled")
            if connection is not None:
                connection.tunnel = None
                connection.close()


def kept_protocols(value: str) -> list[str]:
    """The subprotocols a client offers, without the one that is its key."""
    words = [word.strip() for word in value.split(",")]
    return [word for word in words if word and not word.startswith(SUBPROTOCOL)]


class RealtimeTunnel(WebSocketTunnel):
    """Mutable state: ``account`` of the answer that comes next."""

    def __init__(self, call: ModelCall, account: Account, candidate: Candidate) -> None:
        super().__init__(call.runtime, call.client)
        self.call = call
        self.account = account
        self.candidate = candidate
        self.said = TextWatch(WATCHED)
        self.heard = TextWatch(HEARD)

    def from_client(self, data: bytes) -> None:
        for text in self.said.feed(data):
            if b'"session.update"' in text and changes_model(text):
                self._end_with("The model of a session cannot be changed.", "invalid_request_error")
                return
        super().from_client(data)

    def from_upstream(self, data: bytes) -> None:
        booked = False
        for text in self.heard.feed(data):
            if b'"response.done"' in text[:4096]:
                usage = usage_of_response(text)
                if usage is not None:
                    self._book(usage)
                    booked = True
        super().from_upstream(data)
        if booked:
            steps = self.runtime.steps
            steps.go(Stepper(steps, self._open_next(self.account)))

    def _book(self, usage: Usage) -> None:
        """One answer is complete: booked before the client hears of it."""
        account = self.account
        call = self.call
        account.asks(self.candidate)
        account.usage = usage
        account.credential = call.credential.id if call.credential is not None else ""
        call.sent = True
        steps = self.runtime.steps
        try:
            work = account.settle()
        except Fault as fault:
            self._end_with(fault.detail, fault.code)
            return
        if work is not None:
            steps.go(Stepper(steps, work))
        call.sent = False
        self.account = Account(call)

    async def _open_next(self, account: Account) -> None:
        """Set money aside for the next answer, or end the session."""
        fault: Fault | None = None
        try:
            account.refuse_if_exhausted()
            await account.open([self.candidate])
        except Fault as raised:
            fault = raised
        if fault is not None:
            self._end_with(fault.detail, fault.code)

    def _end_with(self, detail: str, code: str) -> None:
        """An ``error`` event, then 1008 to both sides."""
        if not self.client.gone and self.down.at_boundary and not self.told_client:
            error = {"type": "error", "error": {"type": code, "code": code, "message": detail}}
            payload = msgspec.json.encode(error)
            head = bytes([0x81, len(payload)]) if len(payload) < 126 else b"\x81\x7e" + len(payload).to_bytes(2, "big")
            self.client.transport.write(head + payload + close_frame(POLICY, False))
            self.told_client = True
        if self.up.at_boundary and not self.told_upstream:
            self._tell_upstream(POLICY)
        self.shut()


def changes_model(text: bytes) -> bool:
    try:
        event = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    session = event.get("session") if isinstance(event, dict) else None
    return isinstance(session, dict) and "model" in session


def usage_of_response(text: bytes) -> Usage | None:
    """The usage in a ``response.done``."""
    try:
        event: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    response = event.get("response") if isinstance(event, dict) and event.get("type") == "response.done" else None
    usage = response.get("usage") if isinstance(response, dict) else None
    if not isinstance(usage, dict):
        return None
    read = usage.get("input_token_details")
    written = usage.get("output_token_details")
    read = read if isinstance(read, dict) else {}
    written = written if isinstance(written, dict) else {}
    return Usage(
        input=count(usage.get("input_tokens")),
        output=count(usage.get("output_tokens")),
        cache_read=count(read.get("cached_tokens")),
        audio_in=count(read.get("audio_tokens")),
        image_in=count(read.get("image_tokens")),
        audio_out=count(written.get("audio_tokens")),
    )
