"""The loop over a model's targets: the first that says something is the answer (LLM 9, 5.11).

A fault before the first content goes to ``rules/fallback``: the same target again, the next one, or the end.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.engine.contexts.held import HeldStream
from tidegate.engine.models.accounting import Account, Charged
from tidegate.engine.models.answering import new_writer
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.batches import heed_batches
from tidegate.engine.models.calls import Reached, call_target, wants_usage, whole_body, words_for
from tidegate.engine.models.choosing import (
    CHAT_KINDS,
    Candidate,
    ask_of,
    awake,
    back_in,
    in_order,
    rest_of,
    standing_of,
    target_key,
)
from tidegate.engine.models.frames import framing_of_answer
from tidegate.engine.models.media import fetch_media
from tidegate.engine.models.relaying import BytesStream, Outlet, PassedStream, Stream
from tidegate.engine.models.seals import keep_answer
from tidegate.engine.models.signing import TOKENS, credential_key, credential_model_key, pick_credential
from tidegate.engine.models.standing import ModelStates
from tidegate.engine.models.translating import CHARACTERS_A_PIECE, TranslatedStream
from tidegate.engine.models.trials import Cut, Trial, TrialRace, pace_of, share_of
from tidegate.exchange.chat import ChatAnswer, Refusal, Text, Thought, ToolCall, Usage
from tidegate.exchange.fault import GATEWAY, IF_IDEMPOTENT, NOT_PROCESSED, UPSTREAM, Fault
from tidegate.ports.authority import Verdict
from tidegate.ports.models import CredentialPlan
from tidegate.rules.chat_assembly import deltas_of
from tidegate.rules.cut_json import mended
from tidegate.rules.emulated_output import plain_answer
from tidegate.rules.fallback import ATTEMPTS, CREDENTIAL_OUT, Row, after, row_of
from tidegate.rules.owner_ids import WORDS, tag_of, tagged
from tidegate.rules.plain_usage import usage_of
from tidegate.rules.quota_fields import rest_after
from tidegate.rules.repeating import changes_state

ANSWER_SIZE: Final = 32 * 1024 * 1024
"""Bytes of a whole answer."""

PAUSE: Final = 0.05
"""Seconds before the same target is tried again, at least; up to twice that by chance."""


class Whole:
    """An answer that came in one piece, as the client shall hear it. For a call that asked for a stream ``body`` are
    events, and ``ending`` what ends them."""

    __slots__ = ("answer", "body", "content_type", "ending", "losses", "pieces", "reached", "served", "stop", "usage")

    def __init__(self, reached: Reached, body: bytes) -> None:
        self.reached = reached
        self.body = body
        self.content_type = "application/json"
        self.ending = b""
        self.answer: ChatAnswer | None = None
        """The neutral answer, of a part of a pipeline."""
        self.losses: tuple[str, ...] = ()
        self.pieces = 0
        """Tokens that it is taken for where it tells no usage."""
        self.served = ""
        self.stop = ""
        self.usage: Usage | None = None


async def first_answer(
    call: ModelCall, account: Account, candidates: list[Candidate], outlet: Outlet | None
) -> Whole | Stream:
    """The first answer with content. Raises the last fault when there is none."""
    runtime = call.runtime
    states = runtime.models
    plan = call.plan
    assert plan is not None
    now = runtime.clock()
    ready, wait = awake(candidates, states, now)
    if wait > 0.0:
        await runtime.wheel.sleep(now + wait)
    order = in_order(call, ready, states)
    position = 0
    tries = 0
    once = changes_state(call.surface.kind, call.x.method, call.members)
    delay = -1.0 if once else hedge_delay(call, order)
    while True:
        candidate = order[position]
        tries += 1
        account.asks(candidate)
        call.sent = False
        trial = Trial(candidate, position, runtime.clock())
        if delay >= 0.0:
            trial = await hedged(call, account, order, trial, delay, outlet)
            position = max(position, trial.position)
            delay = -1.0
        else:
            await run(call, account, trial, outlet)
        if trial.answer is not None:
            account.asks(trial.candidate)
            return won(call, account, trial)
        fault = trial.fault
        assert fault is not None
        ended = runtime.clock()
        account.failed()
        row = row_of(fault, plan.on)
        form = call.form
        if form is not None:
            if not form.keeping:
                raise fault  # what has gone cannot be told again
            form.detach()
        if another_key(row, fault, trial.candidate, call, states, ended):
            call.x.retry_reason = fault.reason or fault.code
            position, tries = trial.position, tries - 1
            continue
        if order[position] is not candidate:
            tries = plan.retry + 1  # a race was lost by both
        wider = candidate.catalogue.window if fault.code == "context_length" and "length" not in plan.on else 0
        others = next_awake(order, position, states, ended, wider)
        step = after(
            fault, row, tries=tries, retry=plan.retry, attempts=len(call.attempts), others=others >= 0,
            left=call.deadline - ended, pause=PAUSE + PAUSE * runtime.random.random(), once=once,
        )  # fmt: skip
        move = step.move
        upstream = runtime.upstreams.get(candidate.door.upstream)
        if move == "again" and (upstream is None or not upstream.budget.take(ended)):
            move = "next" if others >= 0 and row.next else "end"
        if move == "end":
            soonest = back_in(candidates, states, ended)
            if soonest > 0.0 and row.next:
                fault.retry_after = soonest
            raise fault
        runtime.metrics.add("model_retries_total", (call.name if call.name in call.models.models else "*",
                            candidate.target.provider.name, fault.reason or fault.code, move),
                            ("model", "provider", "reason", "move"))  # fmt: skip
        call.x.retry_reason = fault.reason or fault.code
        if move == "next":
            position = others
            tries = 0
        elif step.wait > 0.0:
            await runtime.wheel.sleep(ended + step.wait)


async def run(call: ModelCall, account: Account, trial: Trial, outlet: Outlet | None) -> None:
    """One try: afterwards *trial* has an answer or a fault, and everybody knows what that says of its target."""
    runtime = call.runtime
    states = runtime.models
    candidate = trial.candidate
    trial.keys = enter(call, candidate, states, trial.begun)
    try:
        trial.answer = await attempt(call, trial, outlet)
    except Fault as raised:
        trial.fault = raised
    finally:
        if trial.answer is None:
            leave(candidate, states)
            if trial.fault is None:
                for key in trial.keys:
                    states.cooldowns.withdrawn(key)
    if trial.answer is not None:
        call.x.on_end(lambda: leave(candidate, states))
        for key in trial.keys:
            states.cooldowns.succeeded(key)
        heed_quota(call, trial)
        return
    assert trial.fault is not None
    ended = runtime.clock()
    plan = call.plan
    counts = row_of(trial.fault, plan.on if plan is not None else frozenset()).counts
    rest(call, candidate, trial.keys, counts, trial.fault, ended, trial.credential)
    trial.tell(call, account, ended)


def heed_quota(call: ModelCall, trial: Trial) -> None:
    """A provider that says it has no room left is left alone before it refuses (LLM 9)."""
    provider = trial.candidate.target.provider
    if not provider.quota_fields:
        return
    runtime = call.runtime
    seconds = rest_after(provider.quota_fields, trial.answer.reached.head.fields, runtime.wall())
    if seconds > 0.0:
        key = credential_model_key(provider, trial.credential, trial.candidate.model)
        runtime.models.cooldowns.slow(key, runtime.clock(), seconds)


def won(call: ModelCall, account: Account, trial: Trial) -> Whole | Stream:
    """*trial* is the answer."""
    states = call.runtime.models
    ended = call.runtime.clock()
    trial.tell(call, account, ended)
    call.credential = trial.credential
    plan = call.plan
    assert plan is not None
    if plan.hedge_after == 0.0:
        pace_of(states.hedges, trial.candidate).observe(ended - trial.begun)
    if plan.strategy is not None and len(plan.targets) > 1:
        plan.strategy.served(standing_of(trial.candidate), ask_of(call))
    answer: Whole | Stream = trial.answer
    return answer


# -- a second target beside the first ----------------------------------------------------------------------------------


def hedge_delay(call: ModelCall, order: list[Candidate]) -> float:
    """Seconds after which a second target is asked too, -1.0 for never."""
    plan = call.plan
    if plan is None or plan.hedge_after < 0.0 or len(order) < 2 or call.form is not None:
        return -1.0
    hedges = call.runtime.models.hedges
    share_of(hedges, plan).count()
    return plan.hedge_after if plan.hedge_after > 0.0 else pace_of(hedges, order[0]).delay()


async def hedged(
    call: ModelCall, account: Account, order: list[Candidate], first: Trial, delay: float, outlet: Outlet | None
) -> Trial:
    """The trial that answers first; when none does, the last that failed."""
    runtime = call.runtime
    states = runtime.models
    plan = call.plan
    assert plan is not None

    def second() -> Trial | None:
        now = runtime.clock()
        other = next_awake(order, first.position, states, now)
        if other < 0 or not share_of(states.hedges, plan).take():
            return None
        upstream = runtime.upstreams.get(order[other].door.upstream)
        if upstream is None or not upstream.budget.take(now):
            return None
        call.x.hedged = True
        runtime.metrics.add("model_hedges_total", (plan.name, "sent"), ("model", "result"))
        return Trial(order[other], other, now)

    race = TrialRace(runtime, lambda trial: run(call, account, trial, outlet))
    try:
        winner: Trial = await race.held(first, delay, second)
    finally:
        ended = runtime.clock()
        for trial in race.trials:
            if trial is not race.winner and (trial is not first or race.winner is not None):
                trial.tell(call, account, ended, lost=True)
    if len(race.trials) > 1 and winner.answer is None:
        winner.position = race.trials[1].position  # nobody of these is asked again
    elif len(race.trials) > 1:
        result = "won" if winner is not first else "lost"
        runtime.metrics.add("model_hedges_total", (plan.name, result), ("model", "result"))
        if winner is not first and plan.hedge_after == 0.0:
            pace_of(states.hedges, first.candidate).observe(ended - first.begun)  # it took longer than that
    return winner


async def attempt(call: ModelCall, trial: Trial, outlet: Outlet | None) -> Whole | Stream:
    """One try of one target, up to its first content or its whole answer."""
    runtime = call.runtime
    candidate = trial.candidate
    crowded = full(call, candidate)
    if crowded is not None:
        raise crowded
    await take_limits(call, candidate)
    if call.llm.fetch_media:
        await fetch_media(call, candidate)
    call.x.attempts += 1
    trial.words = words = words_for(call, candidate, runtime.models, runtime.clock())
    reached = await call_target(call, candidate, words)
    dialect = candidate.door.dialect or call.dialect
    unread = is_plain(call, reached) or (call.stream and candidate.door.dialect is None)
    if outlet is not None and unread:
        plain = BytesStream(call, reached, outlet)
        plain.start()
        await plain.ready
        return plain
    if call.stream and outlet is not None:
        framing = framing_of_answer(reached.head.get("content-type") or "", dialect.framing)
        if framing is not None:
            if reached.head.get("content-encoding") not in (None, "", "identity"):
                reached.done("gateway")
                raise Fault("bad_upstream", "The stream is compressed.", reason="protocol", side=UPSTREAM,
                            retry=IF_IDEMPOTENT)  # fmt: skip
            stream: Stream
            try:
                if candidate.passes:
                    hide = call.framing == "sse" and not wants_usage(call)
                    stream = PassedStream(call, reached, outlet, framing, dialect, hide)
                elif call.turn is not None:
                    stream = HeldStream(call, reached, outlet, framing, dialect)
                else:
                    stream = TranslatedStream(call, reached, outlet, framing, dialect)
            except Fault:
                reached.done("gateway")
                raise
            trial.stream = stream
            stream.start()
            await stream.ready
            return stream
    try:
        body = await whole_body(call, reached, ANSWER_SIZE)
    except Fault:
        trial.cut = cut_of(call, candidate, reached)
        raise
    if call.surface.kind == "batches":
        await heed_batches(call, candidate, body)
    return understood(call, candidate, reached, body)


def cut_of(call: ModelCall, candidate: Candidate, reached: Reached) -> Cut:
    """What is known of an answer that broke off: its vendor bills all of it."""
    part = mended(reached.part)
    if not part or call.surface.kind not in CHAT_KINDS:
        return Cut(None, 0)
    dialect = candidate.door.dialect or call.dialect
    usage = dialect.usage_of_answer(part, candidate.voice)
    pieces = 0
    try:
        pieces = pieces_of(dialect.read_answer(part, candidate.voice, reached.aliases))
    except Fault:
        pass  # too little of it to be an answer
    if usage is not None and not usage.output:
        usage = msgspec.structs.replace(usage, output=pieces)
    return Cut(usage, pieces)


def is_plain(call: ModelCall, reached: Reached) -> bool:
    """Bytes that nobody here reads; but an answer about objects is read, for their ids get their owner's tag."""
    kind = reached.head.get("content-type") or ""
    tags = call.surface.kind in WORDS and kind.startswith("application/json") and "/content" not in call.surface.path
    return call.plain and not tags


def with_tags(call: ModelCall, candidate: Candidate, body: bytes) -> bytes:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    tag = tag_of(candidate.target.provider.name, call.caller.tenant)
    return msgspec.json.encode(tagged(found, call.surface.kind, tag))


def understood(call: ModelCall, candidate: Candidate, reached: Reached, body: bytes) -> Whole:
    """A whole answer in the client's words. Raises ``bad_upstream`` for what is none."""
    dialect = candidate.door.dialect or call.dialect
    voice = candidate.voice
    whole = Whole(reached, body)
    if candidate.passes and not call.stream:
        whole.content_type = reached.head.get("content-type") or "application/json"
        if call.surface.kind in CHAT_KINDS or candidate.door.dialect is not None:
            if body[:1] != b"{" and body.lstrip()[:1] != b"{":
                raise Fault("bad_upstream", "The answer is not JSON.", reason="protocol", side=UPSTREAM,
                            retry=IF_IDEMPOTENT)  # fmt: skip
            whole.usage = dialect.usage_of_answer(body, voice)
            told = whole.usage
            if call.surface.kind in CHAT_KINDS and (told is None or not told.output):  # an error, half an object, a lie
                whole.pieces = pieces_of(dialect.read_answer(body, voice, reached.aliases))
        if call.surface.kind in WORDS:
            whole.body = with_tags(call, candidate, body)
            reached.head.body_length = len(whole.body)  # the provider's own is told to the client else
        if whole.usage is None:
            whole.usage = usage_of(call.surface.kind, call.members, body, whole.content_type)
        return whole
    answer: Any = dialect.read_answer(body, voice, reached.aliases)
    keep_answer(call.runtime.models.seals, call.caller.tenant, answer, call.runtime.clock())
    if reached.output_tool:
        answer = plain_answer(answer, reached.output_tool)
    whole.usage = answer.usage
    whole.served = answer.model
    if call.plan is not None and call.plan.echo == "asked":
        answer = msgspec.structs.replace(answer, model=call.asked)
    if call.turn is not None:
        answer = msgspec.structs.replace(answer, id=call.turn.answer_id)
    if isinstance(answer, ChatAnswer) and answer.choices:
        whole.stop = answer.choices[0].stop
        if whole.usage is None or not whole.usage.output:
            whole.pieces = pieces_of(answer)
    whole.answer = answer
    if call.composed and not call.request.stream and not call.stream and call.plan is not None and not call.body:
        return whole  # a part of a pipeline: nobody else hears it
    if call.stream:
        whole.body, whole.ending = as_events(call, answer)
        return whole
    written = call.dialect.write_answer(answer, call.request, int(call.runtime.wall()))
    whole.body = written.body
    whole.losses = written.losses
    return whole


def pieces_of(answer: ChatAnswer) -> int:
    """About as many tokens as *answer* has, where nobody has told."""
    size = 0
    for choice in answer.choices:
        for part in choice.parts:
            if isinstance(part, Text | Refusal | Thought):
                size += len(part.text)
            elif isinstance(part, ToolCall):
                size += len(part.name) + len(part.arguments)
    return -(-size // CHARACTERS_A_PIECE)


def as_events(call: ModelCall, answer: ChatAnswer) -> tuple[bytes, bytes]:
    """A whole answer as the events of a stream, and the event that ends it."""
    writer = new_writer(call)
    events: list[bytes] = []
    for delta in deltas_of(answer):
        events.append(writer.write(delta))
    ending = events.pop() if events else b""
    return b"".join(events), ending


# -- who is busy, who rests --------------------------------------------------------------------------------------------


def enter(call: ModelCall, candidate: Candidate, states: ModelStates, now: float) -> list[str]:
    """One more call of *candidate*. The keys whose half-open probe this is."""
    provider = candidate.target.provider
    candidate.figures.in_flight += 1
    states.enter(provider.name)
    upstream = call.runtime.upstreams.get(candidate.door.upstream)
    if upstream is not None:
        upstream.budget.count(now)
    cooldowns = states.cooldowns
    if not cooldowns.keys:
        return []
    return [key for key in keys_of(candidate) if cooldowns.called(key, now)]


def leave(candidate: Candidate, states: ModelStates) -> None:
    candidate.figures.in_flight -= 1
    states.leave(candidate.target.provider.name)


def another_key(
    row: Row, fault: Fault, candidate: Candidate, call: ModelCall, states: ModelStates, now: float
) -> bool:  # fmt: skip
    """A credential was refused, has asked too often or waits for its token, and the provider has another one that does
    not rest: the same target is asked again at once (LLM 8)."""
    provider = candidate.target.provider
    if not row.counts.startswith("credential") and fault.reason != "no_token":
        return False
    if len(provider.credentials) < 2 or len(call.attempts) >= ATTEMPTS or now >= call.deadline:
        return False
    return pick_credential(provider, candidate.model, states, now)[1] <= 0.0


def keys_of(candidate: Candidate) -> list[str]:
    """Everything that may rest of a candidate."""
    provider = candidate.target.provider
    keys = [target_key(candidate), candidate.key]
    for credential in provider.credentials or (None,):
        keys.append(credential_key(provider, credential))
        keys.append(credential_model_key(provider, credential, candidate.model))
    return keys


def rest(
    call: ModelCall, candidate: Candidate, keys: list[str], counts: str, fault: Fault, now: float,
    credential: CredentialPlan | None,
) -> None:  # fmt: skip
    """What the fault says of the target, its provider's model or the credential that asked."""
    cooldowns = call.runtime.models.cooldowns
    plan = call.plan
    longest = plan.cooldown if plan is not None else 30.0
    provider = candidate.target.provider
    key = ""
    delay = fault.retry_after
    if counts == "target":
        key = target_key(candidate)
    elif counts == "provider_model":
        key = candidate.key
    elif counts == "credential":
        key = credential_key(provider, credential)
        delay = max(delay, CREDENTIAL_OUT)
        if credential is not None and credential.signer in TOKENS:
            call.runtime.tools.access_tokens.refused(key)
        call.runtime.log("error", "credential_refused", provider=provider.name, reason=fault.reason,
                         credential=credential.id if credential is not None else "")  # fmt: skip
    elif counts == "credential_model":
        key = credential_model_key(provider, credential, candidate.model)
        if fault.reason == "upstream_denied":
            call.runtime.log("warning", "model_denied", provider=provider.name, model=candidate.model,
                             credential=credential.id if credential is not None else "")  # fmt: skip
    for probing in keys:
        if probing != key:
            cooldowns.withdrawn(probing)
    if key:
        cooldowns.failed(key, now, delay=delay, longest=longest, at_once=counts != "target")


def next_awake(order: list[Candidate], position: int, states: ModelStates, now: float, wider: int = 0) -> int:
    """The next target that does not rest, -1 when there is none. *wider*: what is too long for so many tokens of
    context is asked of a larger window only, as far as it is known (LLM 5.11)."""
    for number in range(position + 1, len(order)):
        window = order[number].catalogue.window
        if wider and 0 < window <= wider:
            continue
        if rest_of(order[number], states, now)[0] <= 0.0:
            return number
    return -1


async def take_limits(call: ModelCall, candidate: Candidate) -> None:
    """Charge the target's and its provider's own rates; one that is used up is left for the next target."""
    target = candidate.target
    tokens = 0
    provider = target.provider
    for number, policy in enumerate((target.requests, provider.requests, target.tokens, provider.tokens)):
        counts = number > 1
        if policy is None:
            continue
        if counts and not tokens:
            tokens = max(1, ask_of(call).input_tokens + ask_of(call).output_tokens)
        verdict = policy.take(candidate.key, tokens if counts else 1)
        if not isinstance(verdict, Verdict):
            verdict = await verdict
        if not verdict.allowed:
            raise Fault("overloaded", "The target's own limit is reached.", reason="target_limit", side=GATEWAY,
                        retry=NOT_PROCESSED, retry_after=verdict.retry_after)  # fmt: skip
        if counts and call.account is not None:
            call.account.charged.append(Charged(candidate, policy, tokens, call.runtime.clock()))


def full(call: ModelCall, candidate: Candidate) -> Fault | None:
    """The provider has all the calls it may have (bulkhead)."""
    provider = candidate.target.provider
    runtime = call.runtime
    share = max(1, provider.in_flight // max(1, runtime.workers))
    bound = candidate.target.in_flight
    within = not bound or candidate.figures.in_flight <= max(1, bound // max(1, runtime.workers))
    if within and runtime.models.busy.get(provider.name, 0) <= share:
        return None
    return Fault("overloaded", "The provider has all the calls it may have.", reason="bulkhead_full", side=GATEWAY,
                 retry=NOT_PROCESSED, retry_after=1.0)  # fmt: skip
