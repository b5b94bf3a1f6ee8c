"""Summaries made between turns: by the conversation's own model, on a version of their own (CRP 8.5).

A turn never waits for one and never fails with one: whoever comes in between wins, and what was summarised in vain is
forgotten.
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.engine.clock import NEVER, Timer
from tidegate.engine.contexts.repository import Held, Repository
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.pipelines import ask_part
from tidegate.engine.steps import Stepper
from tidegate.exchange.chat import ChatRequest
from tidegate.exchange.context import Entry
from tidegate.exchange.context_ids import MAIN, item_id, version_id
from tidegate.exchange.context_log import Addition
from tidegate.exchange.context_policy import ContextPolicy
from tidegate.exchange.fault import Fault
from tidegate.rules.compaction import is_due, is_worth_it, summary_after, summary_request, summed, victims
from tidegate.rules.composing import text_of
from tidegate.wire.context_entry import write_entry

SHORTLY: Final = 20.0
"""Seconds before a provider forgets a prefix, at which it is used once more."""


def compact_after(turn: Any) -> None:
    """*turn* is committed and told: summarise its conversation where that is due, now or shortly before the provider
    forgets it. Never waits, never raises."""
    prompting = turn.prompting
    held: Held | None = turn.held
    if prompting is None or prompting.rendered is None or held is None or held.compacting:
        return
    if held.idle is not None:
        held.idle.when = NEVER
        held.idle = None
    rendered = prompting.rendered
    if is_due(rendered.used, rendered.limit, prompting.policy):
        _begin(turn, held)
    elif is_worth_it(rendered.used, rendered.limit, prompting.policy) and held.warm is not None:
        runtime = turn.call.runtime
        held.idle = Timer(lambda: _idle(turn, held))
        runtime.wheel.set(held.idle, runtime.clock() + held.warm.life - SHORTLY)


def _idle(turn: Any, held: Held) -> None:
    """Nobody has gone on, and the provider's cache is about to lapse."""
    if not held.compacting and not held.stale and held.head(turn.branch or MAIN) == turn.version:
        _begin(turn, held)


def _begin(turn: Any, held: Held) -> None:
    held.compacting = True
    runtime = turn.call.runtime
    timer = Timer(_nothing)
    stepper = Stepper(runtime.steps, _compact(turn, held, timer))
    timer.callback = stepper.cancel
    runtime.wheel.set(timer, runtime.clock() + turn.prompting.policy.compact.deadline)
    runtime.steps.go(stepper)


def _nothing() -> None:
    """Before there is something to cancel."""


async def _compact(turn: Any, held: Held, timer: Timer) -> None:
    result = "failed"
    policy: ContextPolicy = turn.prompting.policy
    call = turn.call
    try:
        call.deadline = call.runtime.clock() + policy.compact.deadline
        asked = turn.prompting.whole(turn.version) if policy.compact.model == "same" else None
        result = await compact(call, turn.repository, turn.asker, held, turn.branch or MAIN, turn.version, policy,
                               asked=asked)  # fmt: skip
    except Fault as fault:
        turn.call.runtime.log("warning", "compaction_failed", reason=fault.reason or fault.code)
    finally:
        timer.when = NEVER
        held.compacting = False
        metrics = turn.call.runtime.metrics
        metrics.add("context_compactions_total", (result, "background"), ("reason", "mode"))


async def compact(
    call: ModelCall, repository: Repository, asker: Any, held: Held, branch: str, head: str, policy: ContextPolicy,
    upto: str = "", asked: ChatRequest | None = None,
) -> str:  # fmt: skip
    """Summarise *branch* of *held*, whose head is *head*; *asked* is the conversation as its provider has it in its
    cache, None for one that is told anew. What became of it: ``done``; ``nothing`` to make short;
    ``empty``, the summary is none; ``late``, somebody was faster. Raises the model's Faults."""
    view = held.view(head)
    found = victims(view, policy, upto)
    if not found:
        return "nothing"
    model = call.name if policy.compact.model == "same" else policy.compact.model
    request = summary_request(model, found, policy) if asked is None else summary_after(asked, policy)
    answer = await ask_part(call, model, request, call.account)
    now = repository.now()
    change = summed(item_id(repository.mint()), text_of(answer), found, "", answer.model, now)
    if change is None:
        return "empty"
    version = version_id(repository.mint())
    entry = Entry(kind="delta", version=version, ts=now, author="gateway", changes=(change,))
    draft, entry = write_entry(entry, repository.seal(held.meta))
    record = Addition(
        kind="delta", version=version, branch=branch, expect=head, entry=draft, parents=(head,),
        digest=held.history.digest_with(version, draft.body, (head,)), privacy=change.summary.privacy,
    )  # fmt: skip
    appended, _ = await repository.append(asker, held.meta.id, record, entry)
    return "done" if appended.outcome == "ok" else "late"
