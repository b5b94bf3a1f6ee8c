"""How a turn is reserved: its input made durable in its place, or why not (CRP 5.2, 5.5, 5.6)."""

from __future__ import annotations

from typing import Final

from tidegate.engine.contexts.repository import Held
from tidegate.engine.contexts.turn import Turn
from tidegate.engine.contexts.unbroken import unbroken
from tidegate.engine.steps import Cancelled
from tidegate.exchange.context import Append
from tidegate.exchange.context_ids import MAIN
from tidegate.exchange.context_log import Begin, Begun
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.context_merge import rebases
from tidegate.rules.context_resend import NEW, resent

TRIES: Final = 8
"""How often a turn is reserved anew because somebody was faster."""

ATTACHED: Final = 0.25
"""Seconds between two looks at a turn that another worker may be busy with."""


async def reserve(turn: Turn) -> None:
    """Make the input of *turn* durable; afterwards ``call.request`` is the whole conversation, or ``turn.replay`` the
    answer that this very turn had before. Raises 409 ``context_conflict`` and ``turn_in_progress``, 422
    ``delta_invalid`` and ``idempotency_mismatch``, 503 ``store_unavailable``; no provider has heard a thing then."""
    call = turn.call
    turn.ask()
    if not turn.keeps:
        turn.only_read()
        return
    began = call.runtime.clock()
    try:
        await unbroken(call.runtime.steps, _Reserving(turn).run())
    except Fault as fault:
        turn.degrade(fault)
        turn.only_read()
        return
    finally:
        turn.took("begin", began)
    if turn.replay is None:
        turn.compose()


class _Reserving:
    """``until``: when waiting for another turn ends."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.rebased: str = ""
        """The head that the changes were found to fit behind."""
        self.until: float = turn.call.runtime.clock() + turn.repository.limits.queue

    async def run(self) -> None:
        turn = self.turn
        wishes = turn.wishes
        changing = any(not isinstance(op, Append) for op in wishes.ops)
        if changing and turn.held is not None and not wishes.parent and not wishes.version:
            turn.held = await turn.repository.load(turn.asker, turn.id, fresh=True)
        for _ in range(TRIES * 4):
            turn.pinned = self.rebased
            if turn.held is not None:
                self._leave_out_known(turn.held)
                if changing and not turn.pinned:
                    turn.pinned = turn.parent()
            begin, entry = turn.drafted(turn.parent())
            begun, held = await turn.repository.begin(turn.asker, turn.id, begin, entry, wishes.store)
            outcome = begun.outcome
            if outcome == "ok":
                assert begun.lease is not None
                turn.reserved(begun.lease, held, begun.base, begun.branch)
                return
            if turn.left:
                raise Cancelled
            if outcome == "replay":
                self._replay(held, begun)
                return
            if outcome == "attach":
                await self._attach(held, begun)
                continue
            turn.held = held
            if outcome == "busy":
                await self._busy(begun)
            else:
                self._conflict(begun, begin)
        raise turn.in_progress(begun)

    def _leave_out_known(self, held: Held) -> None:
        """What the client sent of the history, though it is kept, is not added again (CRP 3.1 ``on_resend``)."""
        turn = self.turn
        wishes = turn.wishes
        turn.known = 0
        if wishes.level != "id":
            return
        sent = turn.sent()
        base = turn.parent()
        found = resent(held.view(base).items, sent)
        known = held.history.versions.get(base)
        if found.diverged and known is not None and known.status == "incomplete" and not wishes.version:
            before = known.parents[0] if known.parents else ""
            again = resent(held.view(before).items, sent)
            if not again.diverged:  # the client does not count what broke off
                base, found = before, again
        if found == NEW:
            return
        if found.diverged:
            turn.conflicted("history", "refused")
            raise Fault("history_diverged", "The messages begin as the history does, and then differ.", side=CLIENT,
                        extra={"context": {"id": turn.id, "head": held.head(turn.branch or MAIN)}})  # fmt: skip
        if wishes.on_resend == "reject":
            raise Fault("history_resent", "The messages hold history that is kept already.", side=CLIENT)
        turn.known = found.known
        turn.pinned = base

    # -- another turn is running ---------------------------------------------------------------------------------------

    async def _busy(self, begun: Begun) -> None:
        """Wait for it, push it aside or go beside it, as the client wishes."""
        turn = self.turn
        how = turn.wishes.on_busy
        runtime = turn.call.runtime
        if how == "supersede" and not turn.supersedes:
            turn.supersedes = True
        elif how == "fork" and begun.head:
            turn.forks_from(begun.head)
        elif how == "queue" and runtime.clock() < self.until:
            await self._wait(begun, self.until - runtime.clock())
        else:
            turn.conflicted("busy", "refused")
            raise turn.in_progress(begun)

    async def _wait(self, begun: Begun, seconds: float) -> None:
        turn = self.turn
        held = turn.held
        assert held is not None
        repository = turn.repository
        await repository.changed(turn.asker, held, held.history.seq, seconds)
        turn.held = await repository.load(turn.asker, turn.id, fresh=True)

    # -- somebody was faster -------------------------------------------------------------------------------------------

    def _conflict(self, begun: Begun, begin: Begin) -> None:
        """Try again on the new head where the client named no parent; else as it wishes."""
        turn = self.turn
        wishes = turn.wishes
        if not wishes.parent and not wishes.version:
            return
        if wishes.on_conflict == "rebase" and self._fits(begun):
            turn.conflicted("parent", "rebased")
            self.rebased = begun.head
            return
        if wishes.on_conflict == "fork":
            turn.conflicted("parent", "forked")
            turn.forks_from(begin.parent)
            return
        turn.conflicted("parent", "refused")
        raise turn.conflict(begun)

    def _fits(self, begun: Begun) -> bool:
        """Could the call's changes have come behind what it did not know of?"""
        turn = self.turn
        held, parent = turn.held, turn.wishes.parent
        if held is None or begun.head not in held.history.versions or parent not in held.history.versions:
            return False
        if parent not in held.history.line(begun.head):
            return False
        theirs = [change for entry in held.history.since(parent, begun.head) for change in entry.changes]
        return rebases(theirs, turn.ops(), held.view(parent))

    # -- the same turn -------------------------------------------------------------------------------------------------

    async def _attach(self, held: Held, begun: Begun) -> None:
        """Wait until the turn that is in flight has ended: the next begin replays it, or takes its place."""
        turn = self.turn
        repository = turn.repository
        until = turn.call.deadline
        seq = held.history.seq
        while not turn.left:
            left = until - turn.call.runtime.clock()
            if left <= 0.0:
                raise turn.in_progress(begun)
            step = min(left, 5.0)
            await repository.changed(turn.asker, held, seq, step)
            held = await repository.load(turn.asker, held.meta.id, fresh=True)
            seq = held.history.seq
            known = held.history.versions.get(begun.version)
            if known is None or known.status != "in_progress":
                return
        raise Cancelled

    def _replay(self, held: Held, begun: Begun) -> None:
        """The answer as the log has it; its chunking may differ (CRP 5.6)."""
        turn = self.turn
        turn.repeats(held, begun.version)
        turn.call.runtime.metrics.add("context_retries_total", ("turn", "replayed"), ("kind", "result"))
