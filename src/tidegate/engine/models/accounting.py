"""The money of one call: reserved before a provider hears of it, settled before the client hears the end (LLM 10).

Whatever happens to a call, its account is closed once: settled with what was used, or released when nothing was.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from msgspec.structs import replace

from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import CHAT_KINDS, Candidate
from tidegate.engine.models.token_counts import Counts, counted_call, learn
from tidegate.engine.steps import Stepper
from tidegate.exchange.chat import Usage
from tidegate.exchange.fault import Fault
from tidegate.exchange.ledger import CostPart, LedgerRecord
from tidegate.ports.authority import Policy, Verdict
from tidegate.ports.books import BudgetLevel, Refused, Reservation
from tidegate.rules.call_bounds import WINDOW, made, reads_unseen
from tidegate.rules.limit_fields import Seen, limit_fields
from tidegate.rules.pricing import cost_of, reserve_of
from tidegate.rules.ulid import ulid

PICTURE: Final = 16_384
"""Tokens that one piece of media is reserved as: above any vendor's picture, a document's or a clip's usual."""

OUTPUT: Final = 4096
"""Tokens of an answer whose bound nobody names."""

MOST_TOKENS: Final = 1 << 24
"""Tokens that no call has: usage above is not believed."""

COUNT_MARGIN: Final = 15
"""Percent, and tokens, that are added to a count: 95 of 100 estimates are closer than that."""

TOLD: Final = 128
"""Characters of what an upstream says of itself that the ledger keeps: its words may be as long as its answers."""

LOSSES: Final = 1024
"""Losses that the ledger keeps: a client names the members that get lost, and there may be many."""

MARK_BYTES: Final = 4096
MARK_SECONDS: Final = 2.0
CACHE_WRITERS: Final = frozenset({"anthropic_messages", "bedrock_converse"})

AUDIO_BYTES: Final = 16_000
"""Bytes of sound that are taken for a second where nobody tells."""

ESTIMATE_BYTES: Final = 4
"""Bytes of text that a token is taken for where the provider tells no usage."""


def note_refusal(call: ModelCall, fault: Fault) -> None:
    """A call of somebody we know that ended before any money was set aside is in the ledger too (LLM 10). Never waits,
    never raises."""
    account: Account | None = call.account
    if account is None:
        account = Account(call)
    if account.reservation is not None or account.closed or call.x.identity is None:
        return
    account.closed = True
    account.levels = ()
    steps = call.runtime.steps
    steps.go(Stepper(steps, account.write_down(account.record("complete", fault))))


class Charged:
    """Tokens that a target's or its provider's own limit was charged with for one try, by estimate."""

    __slots__ = ("at", "candidate", "policy", "tokens")

    def __init__(self, candidate: Candidate, policy: Policy, tokens: int, at: float) -> None:
        self.candidate = candidate
        self.policy = policy
        self.tokens = tokens
        self.at = at


class Account:
    """One call's. Mutable state: ``reservation`` until it is ``closed``; ``serving``, the target that is being asked,
    paid for from the moment it heard the request; ``waste`` n$ of tries that brought nothing."""

    def __init__(self, call: ModelCall) -> None:
        self.call = call
        call.account = self
        self.id = ulid(call.x.wall, call.runtime.random.getrandbits(80))
        self.levels: tuple[BudgetLevel, ...] = call.caller.budgets + (
            call.plan.budgets if call.plan is not None else ()
        )
        self.reservation: Reservation | None = None
        self.serving: Candidate | None = None
        self.credential = ""
        self.usage: Usage | None = None
        self.pieces = 0
        self.served = ""
        self.stop = ""
        self.first_at = 0.0
        self.upstream_request_id = ""
        self.waste = 0
        self.cost = 0
        self.closed = False
        self.batch = ""
        """The batch that it made or asked for."""
        self.parent = ""
        """The account of the pipeline that this is a part of; ``children`` n$ of the parts of this one."""
        self.children = 0
        self.tokens_taken = 0
        self.tokens_at = 0.0
        """When the limits took them, monotonic."""
        self.charged: list[Charged] = []
        self.counts: Counts | None = None
        """Its input, where that had to be counted."""
        self.seen: list[Seen] = []
        """What limits have said."""
        self.marked_at = call.runtime.clock()
        self.unmarked = 0

    # -- before ----------------------------------------------------------------------------------------------------

    def refuse_if_exhausted(self) -> None:
        """The quick refusal: some budget is known to have nothing left."""
        books = self.call.runtime.tools.books
        if books is not None and self.levels:
            refused = books.exhausted(self.levels)
            if refused is not None:
                raise over_budget(refused)

    async def open(self, candidates: list[Candidate]) -> None:
        """Set aside what the dearest of *candidates* may cost. Raises ``budget_exceeded``, ``limiter_unavailable``,
        ``ledger_unavailable``."""
        call = self.call
        books = call.runtime.tools.books
        if books is None:
            return
        try:
            answer = await self._reserve(self._worst(candidates))
            if isinstance(answer, Refused) and candidates and self._may_count():
                self.counts = await counted_call(call, candidates)
                answer = await self._reserve(self._worst(candidates))
            if isinstance(answer, Refused):
                raise over_budget(answer)
            self.reservation = answer
        finally:
            if self.reservation is None:
                self._correct_tokens(None)  # the limits took them already, and nothing will be used

    def _may_count(self) -> bool:
        call = self.call
        return bool(self.levels) and call.surface.kind in CHAT_KINDS

    def _worst(self, candidates: list[Candidate]) -> int:
        """n$ of the dearest of *candidates*, by what was counted where it was."""
        call = self.call
        if not self.levels or not candidates:
            return 0
        counts = self.counts
        amount = max([
            worst_case(call, candidate, 0 if counts is None else margin(counts.of(candidate, call.runtime.models)))
            for candidate in candidates
        ])  # fmt: skip
        hedges = call.plan is not None and call.plan.hedge_after >= 0.0
        return amount * 2 if hedges and call.llm.bill == "all" else amount

    async def _reserve(self, amount: int) -> Any:
        """A reservation or why there is none."""
        call = self.call
        books = call.runtime.tools.books
        assert books is not None
        left = call.deadline - call.runtime.clock()
        answer: Any = books.reserve(self.id, self.levels, amount, call.name, call.runtime.wall() + left)
        if not isinstance(answer, Refused) and not hasattr(answer, "amount"):  # compiled coroutines have no type
            answer = await answer
        return answer

    # -- meanwhile -------------------------------------------------------------------------------------------------

    def asks(self, candidate: Candidate) -> None:
        """From now on *candidate* may have to be paid."""
        self.serving = candidate

    def failed(self) -> None:
        """The one that was asked gave nothing and wants nothing."""
        self.serving = None

    def wasted(self, candidate: Candidate, usage: Usage | None, pieces: int = 0) -> int:
        """A try that *candidate* wants to be paid for, though it brought nothing: n$. *pieces*: tokens of its answer
        that came, where it told no *usage*."""
        usage = usage or replace(self._estimate(), output=pieces)
        nusd = cost_of(usage, candidate.price).nusd  # type: ignore[arg-type]
        self.waste += nusd
        return nusd

    def take(self, answer: Any) -> None:
        """An answer in one piece (``trying.Whole``) has come."""
        credential = self.call.credential
        self.credential = credential.id if credential is not None else ""
        self.first_at = answer.reached.at
        self.usage, self.served, self.stop = answer.usage, answer.served, answer.stop
        self.pieces = answer.pieces
        self.upstream_request_id = answer.reached.head.get("x-request-id") or ""

    def mark(self, size: int, usage: Usage | None, pieces: int) -> None:
        """*size* more bytes of a stream have come."""
        if self.closed:
            return
        self.unmarked += size
        self.usage = usage
        self.pieces = pieces
        reservation = self.reservation
        if reservation is None:
            return
        now = self.call.runtime.clock()
        if self.unmarked >= MARK_BYTES or now >= self.marked_at + MARK_SECONDS:
            self.unmarked = 0
            self.marked_at = now
            reservation.mark(usage or self._estimate())

    # -- after -----------------------------------------------------------------------------------------------------

    def settle(self, end: str = "complete", fault: Fault | None = None) -> Coroutine[Any, Any, None] | None:
        """Book the call. None: done; else await what is returned. Raises ``ledger_unavailable``. Once."""
        if self.closed:
            return None
        self.closed = True
        record = self.record(end, fault)
        self._correct_tokens(record.usage)
        call = self.call
        if call.runtime.models.counting and self.serving is not None and end == "complete" and fault is None:
            learn(call, self.serving, self.counts, record)
        reservation = self.reservation
        return reservation.settle(record) if reservation is not None else None

    def close(self, fault: Fault | None = None) -> None:
        """The call is over, however it went: what is not settled yet is settled now, or released where nobody has to be
        paid. Never waits, never raises."""
        if self.closed:
            return
        call = self.call
        cancelled = fault is None
        if self.serving is None or not call.sent:
            self.closed = True
            self._correct_tokens(None)
            if self.reservation is not None:
                self.reservation.release(self.record("cancelled" if cancelled else "complete", fault))
            return
        try:
            work = self.settle("cancelled" if cancelled else "cut", fault)
        except Fault as trouble:
            call.runtime.log("error", "ledger_unavailable", id=self.id, reason=trouble.reason)
            return
        if work is not None:
            call.runtime.steps.go(Stepper(call.runtime.steps, finish(call, self.id, work)))

    async def write_down(self, record: LedgerRecord) -> None:
        """*record*, of a call that cost nothing and was never opened."""
        call = self.call
        books = call.runtime.tools.books
        if books is None:
            return
        try:
            answer: Any = books.reserve(self.id, (), 0, call.name, call.runtime.wall())
            if not hasattr(answer, "release"):
                answer = await answer
            answer.release(record)
        except Fault as trouble:
            call.runtime.log("error", "ledger_unavailable", id=self.id, reason=trouble.reason)

    def record(self, end: str, fault: Fault | None) -> LedgerRecord:
        """Everything that is known of the call, priced."""
        call = self.call
        x = call.x
        caller = call.caller
        identity = x.identity
        now = call.runtime.clock()
        user = call.members.get("user")
        record = LedgerRecord(
            id=self.id,
            ts=x.wall,
            duration_us=int((now - x.started) * 1e6),
            tenant=caller.tenant,
            team=caller.team,
            consumer=caller.consumer,
            key_id=identity.key_id if identity is not None else "",
            user=user[:TOLD] if isinstance(user, str) else "",
            route=call.route.name,
            surface=call.surface.kind,
            dialect=call.surface.dialect,
            asked=call.asked,
            stream=call.stream,
            status=fault.status if fault is not None else x.status or 200,
            attempts=tuple(call.attempts),
            losses=tuple([loss[:TOLD] for loss in call.losses[:LOSSES]]),
            tags=caller.tags + call.tags,
            request_id=x.request_id,
            upstream_request_id=self.upstream_request_id[:TOLD],
            stop=self.stop[:TOLD],
            end=end,
            waste=self.waste,
            parent=self.parent,
            batch=self.batch,
        )
        if fault is not None:
            record.code, record.reason = fault.code, fault.reason
        if self.reservation is not None:
            record.reserved = self.reservation.amount
        if "x-stainless-retry-count" in x.head.index and x.head.index["x-stainless-retry-count"] != "0":
            record.flags += ("client_retry",)
        candidate = self.serving
        if candidate is None:
            return record
        record.target = f"{call.plan.name if call.plan is not None else ''}#{candidate.target.index}"
        record.provider = candidate.target.provider.name
        record.model = candidate.model
        record.served = self.served[:TOLD]
        record.credential = self.credential
        if self.first_at:
            record.ttft_us = int((self.first_at - x.started) * 1e6)
        self._price(record, candidate)
        return record

    def _price(self, record: LedgerRecord, candidate: Candidate) -> None:
        call = self.call
        usage = self.usage
        if self.call.surface.kind == "count_tokens":
            usage = Usage()  # what was counted was not read by a model
        if usage is None:
            usage = self._estimate()
            if call.surface.kind in CHAT_KINDS and call.members.get("background") is True:
                usage = replace(usage, output=most_output(call, candidate))  # nobody here hears what it comes to
            record.flags += ("estimated",)
        elif self.pieces > usage.output and (record.end != "complete" or not usage.output):
            usage = replace(usage, output=self.pieces)  # vendors tell what they wrote at their end, if they do
            record.flags += ("estimated",)
        cost = cost_of(usage, candidate.price)  # type: ignore[arg-type]
        # What other surfaces set aside is a guess and no worst case: nothing there speaks against what was told.
        above = call.surface.kind in CHAT_KINDS and record.reserved and cost.nusd > 2 * record.reserved
        if usage.input + usage.output > MOST_TOKENS or above:
            usage = self._estimate()
            cost = cost_of(usage, candidate.price)  # type: ignore[arg-type]
            record.flags += ("usage_suspect",)
        record.usage = usage
        record.tier = usage.tier[:TOLD]
        record.price_id = candidate.price.id
        record.cost = cost.nusd
        record.parts = cost.parts
        if self.waste and call.llm.bill == "all":
            record.cost += self.waste
            record.parts += (CostPart("waste", 1, self.waste),)
        self.cost = record.cost
        record.flags += cost.flags

    def _estimate(self) -> Usage:
        """Our own count, where the provider tells none."""
        call = self.call
        if call.surface.kind in CHAT_KINDS:
            try:
                read = call.needs.input_tokens
            except Fault:
                read = len(call.body) // ESTIMATE_BYTES
        else:
            read = len(call.body) // ESTIMATE_BYTES
        if call.form is not None and call.surface.kind in ("transcriptions", "translations"):
            return Usage(ms_in=call.form.received * 1000 // AUDIO_BYTES, source="estimated")
        return Usage(input=read, output=self.pieces, source="estimated")

    # -- limits ----------------------------------------------------------------------------------------------------

    async def admit(self) -> None:
        """Charge the limits of caller and model: a request, a place, tokens by estimate; the client hears how much is
        left. Raises ``rate_limited``."""
        call = self.call
        try:
            await self._charge()
        finally:
            if self.seen and call.llm.expose != "none":
                for name, value in limit_fields(call.surface.dialect, self.seen, call.runtime.wall()):
                    call.x.add_answer_field(name, value)

    async def _charge(self) -> None:
        call = self.call
        x = call.x
        caller = call.caller
        plan = call.plan
        partition = caller.tenant
        requests = caller.requests + ((plan.requests,) if plan is not None and plan.requests is not None else ())
        for policy in requests:
            await self._take(policy, partition, 1, "requests")
            x.on_refusal(lambda policy=policy: policy.give_back(partition, 1))  # type: ignore[misc]
        slots = caller.slots + ((plan.slots,) if plan is not None and plan.slots is not None else ())
        for policy in slots:
            await self._take(policy, partition, 1, "in_flight")
            taken = call.runtime.clock()
            x.on_end(lambda policy=policy, taken=taken: policy.give_back(partition, 1, taken))  # type: ignore[misc]
        tokens = self._token_policies()
        if tokens:
            estimate = self._estimate()
            output = call.needs.output if call.surface.kind in CHAT_KINDS else 0
            cost = max(1, estimate.input + (output or 0))
            charged: list[Policy] = []
            try:
                for policy in tokens:
                    await self._take(policy, partition, cost, "tokens")
                    charged.append(policy)
            finally:
                if len(charged) < len(tokens):
                    for policy in charged:  # all of them or none
                        policy.give_back(partition, cost)
            self.tokens_taken = cost
            self.tokens_at = call.runtime.clock()

    def _token_policies(self) -> tuple[Policy, ...]:
        plan = self.call.plan
        return self.call.caller.tokens + ((plan.tokens,) if plan is not None and plan.tokens is not None else ())

    async def _take(self, policy: Policy, partition: str, cost: int, what: str) -> None:
        verdict = policy.take(partition, cost)
        if not isinstance(verdict, Verdict):
            verdict = await verdict
        spec = policy.spec
        self.seen.append(Seen(what, spec.amount, spec.per, verdict.remaining, verdict.reset))
        if not verdict.allowed:
            self.call.x.limits = spec.name
            raise Fault("rate_limited", f"The limit of {what} is reached.", reason=what,
                        retry_after=verdict.retry_after)  # fmt: skip

    def _correct_tokens(self, usage: Usage | None) -> None:
        """The difference between the estimate and what was used goes back, or is taken. Of the tries of targets only
        the one that serves has used anything."""
        used = usage.input + usage.output if usage is not None else 0
        taken = self.tokens_taken
        self.tokens_taken = 0
        partition = self.call.caller.tenant
        for policy in self._token_policies() if taken else ():
            self._correct(policy, partition, taken, used, self.tokens_at)
        charged = self.charged
        self.charged = []
        paid: set[int] = set()
        for one in reversed(charged):
            serves = one.candidate is self.serving and id(one.policy) not in paid
            if serves:
                paid.add(id(one.policy))
            self._correct(one.policy, one.candidate.key, one.tokens, used if serves else 0, one.at)

    def _correct(self, policy: Policy, partition: str, taken: int, used: int, at: float) -> None:
        if used < taken:
            policy.give_back(partition, taken - used, at)
        elif used > taken:
            verdict = policy.take(partition, used - taken)
            if not isinstance(verdict, Verdict):
                steps = self.call.runtime.steps
                steps.go(Stepper(steps, let_go(verdict)))


async def finish(call: ModelCall, id: str, work: Coroutine[Any, Any, None]) -> None:
    """Settle after the client has gone."""
    try:
        await work
    except Fault as trouble:
        call.runtime.log("error", "ledger_unavailable", id=id, reason=trouble.reason)


async def let_go(asked: Coroutine[Any, Any, Verdict]) -> None:
    """Charge what was used already: whether it was still allowed does not matter any more."""
    try:
        await asked
    except Fault:
        pass


def margin(tokens: int) -> int:
    """A count with what vendors may count otherwise (LLM 10, 11)."""
    return tokens + tokens * COUNT_MARGIN // 100 + COUNT_MARGIN


def worst_case(call: ModelCall, candidate: Candidate, counted: int = 0) -> int:
    """The most n$ that *candidate* may cost: every byte of text a token, media as stated; or *counted* tokens."""
    price: Any = candidate.price
    if call.surface.kind not in CHAT_KINDS:
        size = len(call.body) or content_length(call)
        tokens, other = made(call.surface.kind, call.members, size)
        return reserve_of(price, size, tokens, other=other)
    needs = call.needs
    read = len(call.body)
    if call.composed or needs.media:
        told = needs.text * 4 + needs.media * PICTURE
        read = told if call.composed else min(read, told)
    if counted:
        read = min(read, counted)
    if reads_unseen(call.members):
        read += candidate.catalogue.window or WINDOW
    dialect = candidate.door.dialect
    writes = dialect is not None and dialect.name in CACHE_WRITERS
    return reserve_of(
        price,
        read,
        most_output(call, candidate),
        needs.answers,
        cache_writes=writes,
        media=needs.media > 0,
        tier=tier_of(call.members),
    )


def tier_of(members: dict[str, Any]) -> str:
    """The service tier that a call asks for, in any dialect's spelling."""
    told = members.get("service_tier") or members.get("serviceTier") or members.get("speed") or ""
    return told if isinstance(told, str) else ""


def most_output(call: ModelCall, candidate: Candidate) -> int:
    """Tokens of one answer at most, as far as anybody names a bound."""
    plan = call.plan
    named = call.needs.output or (plan.default_output if plan is not None else 0)
    return named or candidate.catalogue.max_output or OUTPUT


def content_length(call: ModelCall) -> int:
    """Bytes of a body that streams through, 0 where nobody says."""
    told = call.x.head.index.get("content-length", "")
    return int(told) if told.isdecimal() and len(told) < 16 else 0


def over_budget(refused: Refused) -> Fault:
    """429, and no SDK tries that again by itself."""
    return Fault(
        "budget_exceeded",
        "The budget is used up.",
        reason=refused.level.split("/")[1] if "/" in refused.level else "",
        retry_after=refused.reset,
        extra={"level": refused.level, "limit": refused.limit, "spent": refused.spent, "reset": refused.reset},
    )
