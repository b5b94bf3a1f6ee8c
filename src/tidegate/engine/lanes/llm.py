"""The lane to models: read, resolve, choose, reserve, try, answer, settle, in the order of LLM 9.1."""

from __future__ import annotations

from msgspec.structs import replace

from tidegate.engine.contexts.mirror import count_kept, is_ours, serve_mirror
from tidegate.engine.contexts.reserving import reserve
from tidegate.engine.contexts.turn import Turn, meet
from tidegate.engine.models.accounting import Account, note_refusal
from tidegate.engine.models.answering import PLAIN_WORDS, loss_text, money_fields, send_whole, target_fields
from tidegate.engine.models.asking import ModelCall, read_body
from tidegate.engine.models.catalogue import show_models, show_one
from tidegate.engine.models.choosing import CHAT_KINDS, Candidate, candidates_of, clamped, resolve
from tidegate.engine.models.counting import count_here, counters_of
from tidegate.engine.models.forms import Form, is_form, read_form
from tidegate.engine.models.owning import OWNED, prepare
from tidegate.engine.models.pipelines import compose
from tidegate.engine.models.realtime import refuse_unheard, serve_realtime
from tidegate.engine.models.relaying import Outlet, Stream, failed_of
from tidegate.engine.models.socket import serve_socket
from tidegate.engine.models.trying import Whole, as_events, first_answer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.engine.steps import Stepper
from tidegate.exchange.chat import END, ChatAnswer
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.ports.models import LlmPlan
from tidegate.ports.plan import RoutePlan
from tidegate.rules.client_key import client_key, without_key
from tidegate.rules.credentials import token_of
from tidegate.rules.pricing import dollars
from tidegate.rules.sigv4 import GATHERED, body_hash, presented
from tidegate.rules.surfaces import Surface, dialect_of, surface_of

CALLS = frozenset({
    "chat", "completions", "embeddings", "moderations", "rerank", "images", "images_edits", "images_variations",
    "speech", "transcriptions", "translations", "count_tokens", "tokenize", "compact", "realtime_secrets",
})  # fmt: skip
"""Surfaces whose calls name a model."""

COUNTS = frozenset({"count_tokens", "tokenize"})
"""Questions about an input's length: free, and answered here if need be."""


def present_key(x: Exchange, llm: LlmPlan) -> None:
    """Before the route's filters: whichever field an SDK puts its key into, they find it in ``x-api-key``. Raises 400
    ``ambiguous_credentials``."""
    head = x.head
    index = head.index
    key = client_key(index, x.query, llm.query_key)
    if llm.query_key and "key=" in x.query:
        x.query = x.upstream_query = without_key(x.query)
    if key and "x-api-key" not in index and token_of(index.get("authorization"), "bearer") is None:
        head.index = {**index, "x-api-key": key}  # other heads of the same field block keep theirs


async def hash_signed(
    runtime: Runtime, client: ClientSide, x: Exchange, llm: LlmPlan, body: RequestBody | None
) -> None:  # fmt: skip
    """Before the route's filters: a signed request (LLM 2) is checked by them over its whole body, so it is gathered
    here; not for a key that nobody has. Raises 400 ``ambiguous_credentials`` and what gathering raises."""
    index = x.head.index
    if "x-api-key" in index:
        raise Fault("bad_request", "The request carries two different credentials.", reason="ambiguous_credentials",
                    side=CLIENT)  # fmt: skip
    try:
        claim = presented(index["authorization"])
    except Fault:
        return
    hashed = ""
    if claim is not None and runtime.tools.consumers.by_access_key(claim.access_key) is not None:
        if body is not None:
            if body.length > llm.body:
                raise Fault("body_too_large", "The body is larger than this route allows.", side=CLIENT, close=True)
            body.limit = llm.body
            if x.head.expect_continue and not body.complete and body.received == 0:
                client.send_continue()
            await body.gather()
        hashed = body_hash(body.whole() if body is not None else b"")
    x.note(GATHERED, hashed)


async def serve(
    runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, body: RequestBody | None
) -> None:  # fmt: skip
    """Serve *x* from a model. Raises the Fault that is to be told to the client, while nothing has been told yet."""
    assert route.llm is not None
    raw = bool(route.llm.raw)
    surface = Surface("raw", dialect_of(x.path, x.head.index)) if raw else surface_of(x.method, x.path, x.head.index)
    if surface.kind == "models":
        show_models(runtime, client, route, x, surface)
        return
    call = call_of(runtime, client, route, x, surface)
    try:
        await serve_surface(call, body)
    except Fault as fault:
        note_refusal(call, fault)
        raise


async def serve_surface(call: ModelCall, body: RequestBody | None) -> None:
    """Serve the call, each surface in its way."""
    kind = call.surface.kind
    if call.route.contexts is not None and is_ours(call):
        await serve_mirror(call, body)
    elif kind in CALLS:
        await serve_call(call, body)
    elif kind == "show":
        await show_one(call, body)
    elif kind == "realtime":
        await serve_realtime(call)
    elif kind == "socket":
        await serve_socket(call, serve_call)
    elif is_ours(call):
        await serve_mirror(call, body)
    elif kind == "raw" or kind in OWNED:
        await serve_owned(call, body)
    else:
        raise Fault("not_found", "This surface is not served yet.", side=CLIENT)


def call_of(runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, surface: Surface) -> ModelCall:
    """The call, with the dialect its client speaks."""
    models = runtime.plan.models
    dialect = None
    if models is not None:
        dialect = models.dialects.get(surface.dialect)
        if dialect is None and surface.kind not in CHAT_KINDS:
            dialect = models.dialects.get(PLAIN_WORDS)
    if dialect is None:
        raise Fault("not_found", "This surface is not served yet.", side=CLIENT)
    return ModelCall(runtime, client, route, x, surface, dialect)


async def serve_call(call: ModelCall, body: RequestBody | None) -> None:
    """One call that names a model, answered whole or as a stream."""
    if is_form(call):
        await serve_form(call, await read_form(call, body))
        return
    await read_body(call, body)
    if call.route.contexts is not None:
        if call.surface.kind in COUNTS and await count_kept(call):
            return
        await meet(call)
        if call.turn is not None:
            await serve_turn(call, call.turn)
            return
    resolve(call)
    await serve_resolved(call)


async def serve_turn(call: ModelCall, turn: Turn) -> None:
    """One call on a kept conversation: nobody hears of it before its input is durable, and however it ends, so does
    its turn (CRP 5.1)."""
    fault: Fault | None = None
    try:
        resolve(call)
        await reserve(turn)
        call.client.finish_on_disconnect |= turn.finishes
        if turn.replay is not None:
            tell_answer(call, turn.replay, 0)
        else:
            await serve_resolved(call)
    except Fault as raised:
        fault = raised
        raise
    finally:
        turn.leave(fault)


async def serve_resolved(call: ModelCall) -> None:
    """One call whose model is known."""
    account = Account(call)
    if call.plan is not None and call.plan.pipeline is not None and call.surface.kind == "chat":
        account.refuse_if_exhausted()
        await account.admit()
        composed = await compose(call, account)
        if composed is not None:
            await tell_composed(call, account, composed)
            return
        candidates = candidates_of(call, call.runtime.models)
    elif call.surface.kind in COUNTS:
        account.levels = ()
        candidates = counters_of(call)
        await account.admit()
        if not candidates:
            try:
                await count_here(call)
            finally:
                account.close()
            return
    else:
        account.refuse_if_exhausted()
        if call.surface.kind == "realtime_secrets":
            refuse_unheard(call)
        candidates = candidates_of(call, call.runtime.models)
        clamped(call, candidates)
        await account.admit()
    await account.open(candidates)
    await answer(call, account, candidates)


async def serve_form(call: ModelCall, form: Form) -> None:
    """One call whose body streams through: one target, because nothing of it is held for another."""
    try:
        resolve(call)
        account = Account(call)
        account.refuse_if_exhausted()
        candidates = candidates_of(call, call.runtime.models)[:1]
        await account.admit()
        await account.open(candidates)
        call.form = form.open(candidates[0].model)
        await answer(call, account, candidates)
    finally:
        form.close()


async def serve_owned(call: ModelCall, body: RequestBody | None) -> None:
    """One call that belongs to a provider."""
    candidate = await prepare(call, body)
    account = Account(call)
    account.refuse_if_exhausted()
    await account.admit()
    await account.open([candidate])
    await answer(call, account, [candidate])


async def answer(call: ModelCall, account: Account, candidates: list[Candidate]) -> None:
    """Try, tell, and close the account, whatever happens."""
    outlet = Outlet(call) if call.stream or call.plain else None
    found: Whole | Stream | None = None
    fault: Fault | None = None
    try:
        found = await first_answer(call, account, candidates, outlet)
        if isinstance(found, Stream):
            await tell_stream(call, account, found, outlet)
        else:
            await tell_whole(call, account, found, outlet)
    except Fault as raised:
        fault = raised
        if outlet is None or not outlet.begun or call.plain:
            raise
        told_late(call, outlet, raised)
    finally:
        if outlet is not None:
            outlet.stop()
        if isinstance(found, Stream) and found.abandoned and not account.closed:
            steps = call.runtime.steps
            steps.go(Stepper(steps, settle_later(account, found)))
        else:
            account.close(fault)


async def settle_later(account: Account, stream: Stream) -> None:
    """The client has gone, the vendor goes on: billed in full, once its usage is known."""
    await stream.over
    account.usage, account.pieces = stream.usage, stream.pieces
    account.close()


async def tell_stream(call: ModelCall, account: Account, stream: Stream, outlet: Outlet | None) -> None:
    """The stream has begun; its end waits for the books."""
    assert outlet is not None
    account.credential = call.credential.id if call.credential is not None else ""
    account.first_at = stream.first_at
    account.usage, account.pieces = stream.usage, stream.pieces
    stream.account = account
    await stream.over
    account.usage, account.pieces = stream.usage, stream.pieces
    account.served, account.stop = stream.served, stream.stop_word
    call.losses = stream.reached.losses + stream.lost()
    fault = stream.fault
    if fault is None:
        try:
            if call.turn is not None:
                await call.turn.commit_stream()
            work = account.settle()
            if work is not None:
                await work
        except Fault as trouble:
            fault = trouble
    end = b""
    if fault is None:
        if call.llm.expose != "none":
            end = stream.comment(f"x-tidegate-cost: {dollars(account.cost + account.children)}")
            if stream.lost():
                end += stream.comment(f"x-tidegate-loss: {loss_text(stream.lost())}")
        end += stream.ending()
        note_answer(call, account, stream.first_at)
    else:
        note_cut(call, fault)
        end = stream.broken(fault)
        account.close(fault)
    outlet.say(end)
    outlet.end()


async def tell_whole(call: ModelCall, account: Account, whole: Whole, outlet: Outlet | None) -> None:
    """An answer in one piece: booked, then told."""
    account.take(whole)
    call.losses = whole.reached.losses + whole.losses
    turn = call.turn
    if turn is not None:
        await turn.commit(whole.answer, whole.reached.candidate, whole.usage)
    work = account.settle()
    if work is not None:
        await work
    note_answer(call, account, whole.reached.at)
    if outlet is not None:
        outlet.begin(whole.reached)
        events = whole.body + whole.ending
        outlet.say(events if turn is None else turn.told_events(events))
        outlet.end()
        return
    fields = [("content-type", whole.content_type), *target_fields(call, whole.reached)]
    fields += money_fields(call, account.cost + account.children, whole.usage)
    send_whole(call, whole.reached.head.status, fields, whole.body if turn is None else turn.told_whole(whole.body))


async def tell_composed(call: ModelCall, account: Account, answer: ChatAnswer) -> None:
    """An answer that several models made; each part is booked already, the whole has a record of its own."""
    await account.open([])
    if call.turn is not None:
        answer = replace(answer, id=call.turn.answer_id)
        await call.turn.commit(answer, None, answer.usage)
    work = account.settle()
    if work is not None:
        await work
    tell_answer(call, answer, account.children)


def tell_answer(call: ModelCall, answer: ChatAnswer, cost: int) -> None:
    """A whole answer that is at hand, in the words and the framing that the client asked for."""
    turn = call.turn
    if call.stream:
        outlet = Outlet(call)
        body, ending = as_events(call, answer)
        events = body + ending
        outlet.begin(None)
        outlet.say(events if turn is None else turn.told_events(events))
        outlet.end()
        return
    written = call.dialect.write_answer(answer, call.request, int(call.runtime.wall()))
    fields = [("content-type", "application/json"), *money_fields(call, cost, answer.usage)]
    send_whole(call, 200, fields, written.body if turn is None else turn.told_whole(written.body))


def told_late(call: ModelCall, outlet: Outlet, fault: Fault) -> None:
    """The status line is out already: one error event ends the stream (rule 3)."""
    note_cut(call, fault)
    writer = outlet.writer()
    outlet.say(writer.write(failed_of(fault)) + writer.write(END))
    outlet.end()


def note_cut(call: ModelCall, fault: Fault) -> None:
    """What the access record keeps of a fault that came too late for a status."""
    if call.turn is not None:
        call.turn.fault = fault
    x = call.x
    x.end = "cut"
    x.code, x.reason, x.flag = fault.code, fault.reason, fault.flag
    call.runtime.metrics.add("rejects_total", (fault.code,), ("code",))


def note_answer(call: ModelCall, account: Account, first_at: float) -> None:
    """What strategies and operators see of an answer."""
    candidate = account.serving
    if candidate is None:
        return
    runtime = call.runtime
    now = runtime.clock()
    candidate.figures.answered(first_at - call.x.started, now - call.x.started, account.usage)
