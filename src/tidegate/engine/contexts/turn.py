"""One model call on a kept conversation: found, reserved, rendered, committed before its end is told (CRP 5).

``meet`` reads what the call says of a conversation and finds it; the lane then asks the turn to ``reserve``, to
``commit`` and, whatever happens, to be left. What must happen even if the client goes away runs on by itself.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from tidegate.engine.clock import Timer
from tidegate.engine.contexts.compacting import compact_after
from tidegate.engine.contexts.held import HeldStream, commit_failed
from tidegate.engine.contexts.prompting import Prompting
from tidegate.engine.contexts.repository import Held, Repository, asker_of, unavailable
from tidegate.engine.contexts.same_turn import answer_of, fingerprint, retried
from tidegate.engine.contexts.templating import Filling, fetch
from tidegate.engine.contexts.unbroken import unbroken
from tidegate.engine.models.asking import ModelCall, no_model
from tidegate.engine.models.choosing import Candidate
from tidegate.engine.steps import Stepper
from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Cited,
    Part,
    Raw,
    Refusal,
    State,
    Text,
    Thought,
    Usage,
)
from tidegate.exchange.context import (
    Added,
    Answered,
    Append,
    Change,
    Entry,
    Item,
    Op,
    Provenance,
    Receipt,
    SettingsChanged,
    Status,
    TemplateChanged,
    TurnState,
    View,
    Wishes,
)
from tidegate.exchange.context_ids import (
    MAIN,
    Address,
    anonymous_branch,
    context_id,
    item_id,
    response_id,
    version_id,
)
from tidegate.exchange.context_log import Asker, Begin, Begun, Commit, Create, Lease, Meta
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Fields
from tidegate.ports.dialect import Outgoing
from tidegate.rules.context_cache import used
from tidegate.rules.context_class import check_class
from tidegate.rules.context_delta import Applied, Stamp, apply
from tidegate.rules.context_missing import missing_of
from tidegate.rules.context_needs import loop_start, needs_behind
from tidegate.rules.context_settings import model_of, settings_of, system_of, with_settings
from tidegate.rules.context_told import RESPONSES, context_object, usage_field, with_context, with_context_event
from tidegate.rules.context_wishes import MEMBERS, STATE, not_found, read_wishes, strip
from tidegate.rules.item_messages import estimate, items_of, items_of_answer, messages_of
from tidegate.rules.policy_choice import choose
from tidegate.wire.context_entry import settled_commit, write_entry

RENEWED: Final = 5.0
"""Seconds between two renewals of a lease."""

KEY: Final = 256
"""Characters of an ``Idempotency-Key`` that count."""

_NOBODY: Final[frozenset[str]] = frozenset()
_write: Final = msgspec.json.Encoder().encode


async def meet(call: ModelCall) -> None:
    """Find the conversation that *call* means: afterwards ``call.turn`` is it, or None where the call means none.
    Raises 400 for what contradicts itself, 404 and 410 for what is not there, 503 ``store_unavailable``; a store that
    was never opened is one that is out (I9)."""
    route = call.route.contexts
    if route is None or call.surface.kind != "chat":
        return
    repository: Repository | None = call.runtime.contexts
    if repository is None:
        plan = call.runtime.plan.contexts
        if plan is None:
            raise unavailable()
        repository = Repository(call.runtime, plan)
    members = call.members
    fields = call.x.head.index
    wishes = read_wishes(members, fields, call.dialect.name, route.levels, repository.limits)
    kept = wishes.level != "implicit" or (route.implicit == "store" and wishes.store != "none")
    if not kept and not call.asked:
        raise no_model()
    if kept:
        call.turn = turn = Turn(call, repository, wishes)
        body = strip(call.body, call.dialect.name, "")
    elif not MEMBERS.isdisjoint(members):
        body = strip(call.body, call.dialect.name, "")
    else:
        return
    call.reread(body)
    call.members = {name: value for name, value in members.items() if name not in MEMBERS and name not in STATE}
    if kept:
        await turn.find()


class Turn:
    """Of one call. ``state`` as CRP 5.1 goes on; ``request`` is what the model is asked, settings and all, ``view`` the
    conversation with the new input in it, ``before`` without.

    version    minted when the request starts; ``answer_id`` the same in the words of the client's dialect
    id, held   the context; None while it does not exist yet, and where nothing is known of it
    base       the version it continues, "" for none; ``branch`` the one it is written on
    replay     the answer of the same turn, made before: no model is asked
    finishes   a client that goes away does not stop the model
    keeps      something is written; not with ``store: none``, nor while the store is out
    """

    def __init__(self, call: ModelCall, repository: Repository, wishes: Wishes) -> None:
        self.call: ModelCall = call
        self.repository: Repository = repository
        self.wishes: Wishes = wishes
        self.asker: Asker = asker_of(call.x.identity, call.caller.team)
        self.state: TurnState = "resolving"
        self.version: str = version_id(repository.mint())
        self.answer_id: str = response_id(self.version, call.dialect.name)
        self.fp: bytes = fingerprint(call)
        fields = call.x.head.index
        self.key: str = fields.get("idempotency-key", "")[:KEY]
        self.retry: bool = bool(self.key) or retried(fields)
        self.finishes: bool = wishes.on_disconnect == "finish" or (bool(self.key) and not wishes.on_disconnect)
        self.id: str = ""
        self.scope: str = ""
        self.create: Create | None = None
        self.held: Held | None = None
        self.base: str = ""
        self.branch: str = wishes.branch
        self.keeps: bool = wishes.store != "none"
        self.degraded: bool = False
        self.request: ChatRequest = ChatRequest("")
        self.before: View = View(context="")
        self.view: View = self.before
        self.warnings: tuple[str, ...] = ()
        self.replay: ChatAnswer | None = None
        self.replayed: bool = False
        self.lease: Lease | None = None
        self.stream: HeldStream | None = None
        self.digest: bytes = b""
        self.receipt: Receipt = Receipt(id="", version=self.version, level=wishes.level)
        self.busy: float = 0.0
        """Seconds that the repository has taken."""
        self.fault: Fault | None = None
        """What came too late to be told as a status."""
        self.left: bool = False
        """Nobody waits for it any more."""
        self.supersedes: bool = False
        """A turn in flight is pushed aside."""
        self.pinned: str = ""
        """The version that the changes were made for, where they hold for no other."""
        self.known: int = 0
        """How many of the items that were sent are kept already."""
        self.forked: str = ""
        """The version to go on from beside what is there, on a branch of its own."""
        self.locked: str = "conversation_locked" if wishes.context and "conversation" in call.members else ""
        """How this client's dialect says that another turn is running; "" for our own way."""
        self.filling: Filling | None = None
        """The template that the call wishes for; ``tail``: what it puts there."""
        self.tail: str = ""
        self.prompting: Prompting | None = None
        """What targets are asked, once one is."""
        self.timer: Timer = Timer(self._on_timer)

    # -- finding -------------------------------------------------------------------------------------------------------

    async def find(self) -> None:
        """The context, as far as there is one, and the model where the call left it out."""
        began = self.call.runtime.clock()
        try:
            if self.call.runtime.contexts is None:
                raise unavailable()
            await self._find()
        except Fault as fault:
            self.degrade(fault)
        self.took("resolve", began)
        self._name_model()

    async def _find(self) -> None:
        wishes, repository, asker = self.wishes, self.repository, self.asker
        self.scope = f"ep:{self.call.x.path}:{asker.subject}"
        if wishes.template is not None:
            self.filling = await fetch(repository, asker.tenant, wishes.template)
        if wishes.version:
            try:
                found = await repository.resolve(asker, Address("version", wishes.version))
            except Fault as fault:
                if fault.code == "version_not_found":
                    raise not_found(wishes.previous_spelling) from None
                raise
            if wishes.context and wishes.context != found.context:
                raise Fault("context_ambiguous", f"{wishes.previous_spelling} lies in another context.",
                            reason=wishes.previous_spelling, side=CLIENT)  # fmt: skip
            self.id = found.context
            self.branch = self.branch or found.branch
            self.base = wishes.version
        elif wishes.context:
            self.id = wishes.context
        elif wishes.session:
            self.id = await repository.session(asker, wishes.session)
        else:
            self.id = context_id(repository.mint())
            await self._create()
            return
        try:
            self.held = held = await repository.load(asker, self.id)
            if wishes.parent and wishes.parent not in held.history.versions:
                self.held = await repository.load(asker, self.id, fresh=True)
        except Fault as fault:
            if not wishes.session or fault.code != "context_not_found":
                raise
        if self.held is None:
            await self._create()
        self.scope = self.id

    async def _create(self) -> None:
        wishes = self.wishes
        if wishes.parent:
            raise Fault("version_not_found", "No version has this id.", reason="parent", side=CLIENT)
        self.create = await self.repository.creation(self.asker)

    def _name_model(self) -> None:
        """The model of the last turn, where the call names none and inherits."""
        call = self.call
        if call.asked:
            return
        if self.wishes.inherit and self.held is not None:
            call.asked = model_of(self.held.view(self.parent()).settings)
        if not call.asked:
            raise no_model()
        call.reread(strip(call.body, call.dialect.name, call.asked))
        call.members["model"] = call.asked

    def parent(self) -> str:
        """The version that the turn would continue, as things are known here: the store has the last word."""
        wishes = self.wishes
        return self.forked or self.pinned or wishes.version or wishes.parent or self.head()

    def head(self) -> str:
        """Where the branch is, "" for nowhere. A broken turn of this very request is none: it is replaced."""
        held = self.held
        if held is None:
            return ""
        head = held.head(self.branch or MAIN) or ""
        known = held.history.versions.get(head)
        if known is not None and known.status == "incomplete" and held.history.fp(head) == self.fp:
            return known.parents[0] if known.parents else ""
        return head

    def degrade(self, fault: Fault) -> None:
        """A store that is out: 503, or the call goes on without what is kept, and every answer says so (I9)."""
        plan = self.repository.plan
        if fault.code != "store_unavailable" or plan.outage != "degrade":
            raise fault
        self.call.runtime.metrics.add("context_degraded_total", (self.repository.store.name,), ("backend",))
        self.degraded = True
        self.keeps = False
        self.held = None
        self.replay = None

    # -- reserving -----------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Read the request; raises what is wrong with it."""
        request = self.call.request
        if "delta_updates" not in self.wishes.stated and len(request.messages) == system_of(request.messages):
            raise Fault("invalid_request", "The call brings nothing new.", reason="messages", side=CLIENT)
        wishes, route, held = self.wishes, self.call.route.contexts, self.held
        assert route is not None
        policy = choose(self.repository.plan.policies, route.policy, wishes.policy)
        if policy.parent_required and held is not None and wishes.addressed == "ref" and not wishes.parent:
            told: dict[str, object] = {"id": self.id, "head": self.head() or None}
            raise Fault("parent_required", "The policy demands the parent of a turn.", side=CLIENT,
                        extra={"param": "context.parent", "context": told})  # fmt: skip
        filling = self.filling
        if filling is not None:
            view = held.view(self.parent()) if held is not None else View(context=self.id)
            now = self.repository.now()
            request = replace(request, messages=filling.system(view, now) + request.messages)
            self.tail = filling.tail(view, now)
        self.request = request

    def ops(self) -> tuple[Op, ...]:
        """What the call changes: its ops, then its messages."""
        new = self.sent()[self.known :]
        return (*self.wishes.ops, Append(items=new)) if new else self.wishes.ops

    def sent(self) -> tuple[Item, ...]:
        """The messages of the call as items."""
        messages = self.request.messages
        return items_of(messages[system_of(messages) :])

    def applied(self, view: View) -> Applied:
        """The call's ops on *view*. Raises 422 ``delta_invalid``, and nothing has happened."""
        return apply(view, self.ops(), self.stamp(Provenance("client")))

    def stamp(self, by: Provenance) -> Stamp:
        repository = self.repository
        return Stamp(
            now=repository.now(), version=self.version, mint=repository.mint, tokens=estimate, by=by,
            limits=repository.limits, may_set_policy=self._may_set,
            knows=(self.held.history.ids if self.held is not None else _NOBODY).__contains__,
            view_at=self._ancestor,
        )  # fmt: skip

    def _may_set(self, wish: Raw) -> bool:
        """Is *wish* a policy that the route's own may become?"""
        route = self.call.route.contexts
        assert route is not None
        try:
            choose(self.repository.plan.policies, route.policy, wish)
        except Fault:
            return False
        return True

    def _ancestor(self, version: str) -> View | None:
        held = self.held
        if held is None or not held.history.is_ancestor(version, self.parent()):
            return None
        return held.view(version)

    def drafted(self, base: str) -> tuple[Begin, Entry]:
        """The reservation, were *base* what it continues."""
        repository, wishes = self.repository, self.wishes
        view = self.held.view(base) if self.held is not None else View(context=self.id)
        done = self.applied(view)
        self.check_class(done.view)
        self.warnings = done.warnings
        changes: tuple[Change, ...] = tuple(done.changes)
        if self.filling is not None and self.filling.ref != view.template:
            changes = (*changes, TemplateChanged(self.filling.ref))
        settings = settings_of(with_settings(self.request, view.settings, bool(wishes.inherit)))
        if settings != view.settings:
            changes = (*changes, SettingsChanged(self._rev(), settings))
        now = repository.now()
        entry = Entry(kind="reserve", version=self.version, ts=now, author=self.asker.subject, status="in_progress",
                      changes=changes)  # fmt: skip
        draft, entry = write_entry(entry, repository.seal(self.meta()))
        begin = Begin(
            version=self.version, branch="" if self.forked else self.branch,
            parent=self.forked or self.pinned or wishes.version or wishes.parent,
            addressed="version" if self.forked or wishes.addressed == "version" else "ref",
            supersede=self.supersedes,
            fork=anonymous_branch(repository.mint()), scope=self.scope, key=self.key, retry=self.retry, fp=self.fp,
            input=draft, settled=settled_commit(self.version, now), create=self.create,
            privacy=done.view.privacy,
        )  # fmt: skip
        return begin, entry

    def check_class(self, view: View) -> None:
        """Raises 422 ``policy_forbidden``: see ``rules/context_class``."""
        kept = self.held.meta if self.held is not None else self.create
        route = self.call.route.contexts
        check_class(
            kept.privacy if kept is not None else "internal", view, tagged=route is not None and route.sensitive
        )

    def _rev(self) -> int:
        """A number for settings that no other branch of the context has given."""
        return int.from_bytes(self.repository.nonce()[:5], "big")

    def meta(self) -> Meta:
        """What contents are sealed for; of a context that is made now what it will be."""
        if self.held is not None:
            return self.held.meta
        create = self.create
        assert create is not None
        return Meta(tenant=self.asker.tenant, id=self.id, subject=create.subject, group=create.group,
                    access=create.access, privacy=create.privacy, salt=create.salt, dek=create.dek)  # fmt: skip

    def reserved(self, lease: Lease, held: Held, base: str, branch: str) -> None:
        """The input is durable: from now on a provider may hear of it."""
        self.lease, self.held, self.base, self.branch = lease, held, base, branch
        self.state = "reserved"
        self.before = held.view(base)
        self.view = held.view(self.version)
        if self.left:
            self.leave(None)
            return
        runtime = self.call.runtime
        runtime.wheel.set(self.timer, runtime.clock() + RENEWED)

    def only_read(self) -> None:
        """Nothing is written: what is kept is read, the call's own input comes behind it."""
        held, base = self.held, self.parent()
        self.base = base
        self.before = held.view(base) if held is not None else View(context=self.id)
        self.view = self.applied(self.before).view
        self.compose()

    def forks_from(self, version: str) -> None:
        self.forked = version

    def repeats(self, held: Held, version: str) -> None:
        """This very turn was made before, as *version*: its answer is told again."""
        known = held.history.versions[version]
        self.held, self.id, self.version = held, held.meta.id, version
        self.base = known.parents[0] if known.parents else ""
        self.branch = known.branch
        self.digest = known.digest
        self.answer_id = response_id(version, self.call.dialect.name)
        self.replayed = True
        self.replay = answer = answer_of(held, version, self.answer_id)
        self.receipt = self._receipt(known.status, answer.usage)

    def compose(self) -> None:
        """The call asks the whole conversation from now on: bytes do not pass."""
        self.check_class(self.view)  # again: the store may have put the turn behind what was not known of
        call, wishes = self.call, self.wishes
        request = with_settings(self.request, self.before.settings, bool(wishes.inherit))
        lead = request.messages[: system_of(request.messages)]
        previous = response_id(self.base, RESPONSES) if wishes.version else ""
        state = State(previous_id=previous, store=wishes.store != "none") if call.dialect.name == RESPONSES else None
        self.request = request
        items, known = self.view.items, self.before.by_id
        first = len(items)
        while first and items[first - 1].id not in known:
            first -= 1
        first = loop_start(items, first)
        newest = replace(request, messages=lead + messages_of(items[first:]), state=state)
        call.ask_behind(newest, needs_behind(newest, items[:first]), self.whole)

    def whole(self) -> ChatRequest:
        """The whole conversation as the client's own request would hold it."""
        request = self.call.request
        lead = request.messages[: system_of(request.messages)]
        return replace(request, messages=lead + messages_of(self.view.items))

    def prompt(self, candidate: Candidate) -> ChatRequest:
        """What *candidate* is asked. Raises 413 ``context_overflow``."""
        self.state = "calling"
        if self.call.composer is None:
            return self.call.request  # a step of a pipeline has words of its own
        return self.prompts().request(candidate)

    def outgoing(self, candidate: Candidate) -> Outgoing | None:
        """The same in its dialect's words, where the history lies ready as it was written before; else None."""
        self.state = "calling"
        return self.prompts().outgoing(candidate) if self.call.composer is not None else None

    def prompts(self) -> Prompting:
        """Made once the input is in the view."""
        if self.prompting is None:
            route = self.call.route.contexts
            assert route is not None
            policies = self.repository.plan.policies
            policy = choose(policies, route.policy, self.view.policy, self.wishes.policy)
            self.prompting = Prompting(self, policy)
        return self.prompting

    # -- committing ----------------------------------------------------------------------------------------------------

    async def commit(self, answer: ChatAnswer | None, candidate: Candidate | None, usage: Usage | None) -> None:
        """Make the answer durable. Raises 503 ``commit_failed``: then nobody may be told that the turn succeeded."""
        runtime = self.call.runtime
        began = runtime.clock()
        self.timer.when = float("inf")
        if self.keeps:
            self.state = "committing"
            entry = self.ended("completed", answer, candidate, usage)
            await unbroken(runtime.steps, self._commit("completed", entry))
        self.took("commit", began)
        self.receipt = self._receipt("completed", usage, candidate)
        self._count("completed")

    async def commit_stream(self) -> None:
        """The same for what has come as a stream."""
        stream = self.stream
        assert stream is not None
        await self.commit(stream.answer(), stream.reached.candidate, stream.usage)

    def ended(
        self, status: Status, answer: ChatAnswer | None, candidate: Candidate | None, usage: Usage | None
    ) -> Entry:  # fmt: skip
        """The entry that ends the turn, with what the model said."""
        repository = self.repository
        now = repository.now()
        changes: list[Change] = []
        told: Answered | None = None
        vendor = model = spoken = target = ""
        if candidate is not None:
            vendor, model, target = candidate.voice.vendor, candidate.model, candidate.target.provider.name
            spoken = candidate.door.dialect.name if candidate.door.dialect is not None else ""
        if answer is not None and answer.choices:
            first = answer.choices[0]
            items = items_of_answer(first.parts, vendor, model, spoken)
            if items:
                changes.append(Added(tuple([self._stamped(item, now) for item in items])))
            told = Answered(
                stop=first.stop, stop_sequence=first.stop_sequence, model=answer.model, vendor=vendor, target=target,
                dialect=self.call.dialect.name, created=answer.created or now // 1000,
                usage=_write(usage) if usage is not None else b"",
            )  # fmt: skip
        settings = settings_of(self.request)
        if self.request.model and settings != self.view.settings:
            changes.append(SettingsChanged(self._rev(), settings))
        if self.prompting is not None:
            changes += self.prompting.changes()
        return Entry(kind="commit", version=self.version, ts=now, author="gateway", status=status,
                     changes=tuple(changes), use=used(usage), answer=told)  # fmt: skip

    def _stamped(self, item: Item, now: int) -> Item:
        return replace(item, id=item_id(self.repository.mint()), recorded=now, tokens=estimate(item))

    async def _commit(self, status: Status, entry: Entry) -> None:
        held, lease = self.held, self.lease
        assert held is not None and lease is not None
        repository = self.repository
        draft, entry = write_entry(entry, repository.seal(held.meta))
        digest = b""
        if status == "completed" or status == "incomplete":
            digest = held.history.digest_with(self.version, draft.body)
        record = Commit(status=status, output=draft, digest=digest)
        try:
            committed = await repository.commit(self.asker, held, lease, record, entry)
        except Fault as fault:
            self.state = "ended"
            raise commit_failed(fault.code) from None
        self.state = "ended"
        if committed.outcome != "ok":
            raise commit_failed(committed.outcome)
        self.state = "committed"
        self.digest = digest

    def _receipt(self, status: Status, usage: Usage | None, candidate: Candidate | None = None) -> Receipt:
        wishes = self.wishes
        prompting = self.prompting
        if self.degraded:
            return Receipt(id=self.id, version="", status=status, level=wishes.level, degraded=True)
        if prompting is None or candidate is None:
            return Receipt(
                id=self.id, version=self.version, parent=self.base, branch=self.branch or MAIN, status=status,
                level=wishes.level, digest=self.digest, use=used(usage), warnings=self.warnings,
                replayed=self.replayed,
            )  # fmt: skip
        cache = prompting.cache(candidate, usage)
        use = replace(used(usage), cached_expected=cache.expected, saved=prompting.saved())
        return Receipt(
            id=self.id, version=self.version, parent=self.base, branch=self.branch or MAIN, status=status,
            level=wishes.level, digest=self.digest, use=use, elided=prompting.elided(),
            recalled=prompting.recalled(), cache=cache, warnings=self.warnings, replayed=self.replayed,
        )  # fmt: skip

    # -- leaving -------------------------------------------------------------------------------------------------------

    def leave(self, fault: Fault | None) -> None:
        """The call is over, however it went: what is reserved and not committed is ended, by *fault* or, without one,
        because the client has gone. Never waits, never raises."""
        self.left = True
        self.timer.when = float("inf")
        if self.state == "committed":
            compact_after(self)
        if self.state not in ("reserved", "calling", "flowing") or self.lease is None:
            return
        fault = fault or self.fault
        answer = self.partial()
        status: Status = "failed" if fault is not None and answer is None else "incomplete"
        self.state = "committing"
        steps = self.call.runtime.steps
        steps.go(Stepper(steps, self._end(status, answer)))

    def partial(self) -> ChatAnswer | None:
        """What was said before the answer broke off, without calls that nobody will answer; None for nothing."""
        stream = self.stream
        if stream is None:
            return None
        answer = stream.answer()
        if not answer.choices:
            return None
        parts: tuple[Part, ...] = tuple(
            [p for p in answer.choices[0].parts if isinstance(p, (Text, Cited, Refusal, Thought)) and p.text]
        )
        return replace(answer, choices=(Choice(0, parts, "broken"),)) if parts else None

    async def _end(self, status: Status, answer: ChatAnswer | None) -> None:
        stream = self.stream
        candidate = stream.reached.candidate if stream is not None else None
        usage = stream.usage if stream is not None else None
        try:
            await self._commit(status, self.ended(status, answer, candidate, usage))
        except Fault as fault:
            self.call.runtime.log("warning", "turn_not_ended", reason=fault.reason)  # its lease ends it
        self._count(status)

    def _on_timer(self) -> None:
        if self.state in ("reserved", "calling", "flowing"):
            steps = self.call.runtime.steps
            steps.go(Stepper(steps, self._renew()))

    async def _renew(self) -> None:
        """Keep the lease, and lay down what has been said, should this process die."""
        held, lease = self.held, self.lease
        assert held is not None and lease is not None
        draft, _ = write_entry(self.ended("incomplete", self.partial(), None, None), self.repository.seal(held.meta))
        try:
            renewed = await self.repository.renew(self.asker, held, lease, draft)
        except Fault:
            renewed = lease  # the store is out: the commit will tell
        if self.state not in ("reserved", "calling", "flowing"):
            return
        if renewed is None:
            self.state = "ended"
            stream = self.stream
            if stream is not None:
                stream.connection.fail(commit_failed("fenced"))
            return
        self.lease = renewed
        runtime = self.call.runtime
        runtime.wheel.set(self.timer, runtime.clock() + RENEWED)

    # -- telling -------------------------------------------------------------------------------------------------------

    def fields(self) -> Fields:
        """What the head of an answer says (CRP 3.2)."""
        fields: Fields = [("context-protocol", "1")]
        if self.degraded:
            fields.append(("context-degraded", "?1"))
            return fields
        fields += [("context-id", self.id), ("context-version", self.version)]
        if self.base:
            fields.append(("context-parent", self.base))
        if self.held is not None and self.keeps:
            fields.append(("etag", self.held.etag(self.version)))
        micros = int(self.busy * 1e6)
        estimated = not self.replayed and self.state != "committed"
        fields.append(("context-usage", usage_field(self.receipt, micros, estimated=estimated)))
        if self.replayed:
            fields.append(("context-replayed", "?1"))
        return fields

    def told_whole(self, body: bytes) -> bytes:
        """A whole answer in the client's words, with the ``context`` object."""
        told = context_object(self.receipt, self.wishes.returned)
        return with_context(self.call.dialect.name, body, told, "" if self.degraded else self.id)

    def told_events(self, events: bytes) -> bytes:
        """The events that end a stream, with the ``context`` object."""
        if self.call.framing != "sse":
            return events
        told = context_object(self.receipt, self.wishes.returned)
        return with_context_event(self.call.dialect.name, events, told, "" if self.degraded else self.id)

    # -- refusals ------------------------------------------------------------------------------------------------------

    def in_progress(self, begun: Begun) -> Fault:
        """Another turn is running, and this one may not wait any longer."""
        return Fault(self.locked or "turn_in_progress", "Another turn of the context is running.", side=CLIENT,
                     retry_after=begun.retry_after or 1.0,
                     extra={"context": {"id": self.id, "turn": begun.version, "head": begun.head or None}})  # fmt: skip

    def conflict(self, begun: Begun) -> Fault:
        """The parent that the client named is not where the branch is."""
        told: dict[str, object] = {"id": self.id, "head": begun.head or None}
        if self.held is not None and begun.head in self.held.history.versions:
            told |= missing_of(self.held.history, self.parent(), begun.head)
        conditional = "if-match" in self.wishes.stated
        return Fault("precondition_failed" if conditional else "context_conflict",
                     f"parent is not the head of branch {begun.branch or MAIN}.", side=CLIENT,
                     extra={"param": "context.parent", "context": told})  # fmt: skip

    def conflicted(self, kind: str, result: str) -> None:
        self.call.runtime.metrics.add("context_conflicts_total", (kind, result), ("kind", "result"))

    # -- figures -------------------------------------------------------------------------------------------------------

    def took(self, phase: str, began: float) -> None:
        runtime = self.call.runtime
        seconds = runtime.clock() - began
        self.busy += seconds
        runtime.metrics.observe("context_phase_seconds", (phase,), ("phase",), seconds)

    def _count(self, status: str) -> None:
        self.call.runtime.metrics.add(
            "context_turns_total", (self.wishes.level, self.call.dialect.name, status), ("level", "dialect", "status")
        )
