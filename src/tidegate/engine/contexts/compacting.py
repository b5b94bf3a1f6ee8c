"""Summaries made between turns: by the conversation's own model, on a version of their own (CRP 8.5).

A turn never waits for one and never fails with one: whoever comes in between wins, and what was summarised in vain is
forgotten.
"""

from __future__ import annotations

from typing import Any

from tidegate.engine.clock import NEVER, Timer
from tidegate.engine.contexts.repository import Held, Repository
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.pipelines import ask_part
from tidegate.engine.steps import Stepper
from tidegate.exchange.context import Entry
from tidegate.exchange.context_ids import MAIN, item_id, version_id
from tidegate.exchange.context_log import Addition
from tidegate.exchange.context_policy import ContextPolicy
from tidegate.exchange.fault import Fault
from tidegate.rules.compaction import is_due, summary_request, summed, victims
from tidegate.rules.composing import text_of
from tidegate.wire.context_entry import write_entry


def compact_after(turn: Any) -> None:
    """*turn* is committed and told: summarise its conversation where that is due. Never waits, never raises."""
    prompting = turn.prompting
    held: Held | None = turn.held
    if prompting is None or prompting.rendered is None or held is None or held.compacting:
        return
    rendered = prompting.rendered
    if not is_due(rendered.used, rendered.limit, prompting.policy):
        return
    held.compacting = True
    runtime = turn.call.runtime
    timer = Timer(_nothing)
    stepper = Stepper(runtime.steps, _compact(turn, held, prompting.policy, timer))
    timer.callback = stepper.cancel
    runtime.wheel.set(timer, runtime.clock() + prompting.policy.compact.deadline)
    runtime.steps.go(stepper)


def _nothing() -> None:
    """Before there is something to cancel."""


async def _compact(turn: Any, held: Held, policy: ContextPolicy, timer: Timer) -> None:
    result = "failed"
    try:
        result = await compact(turn.call, turn.repository, turn.asker, held, turn.branch or MAIN, turn.version, policy)
    except Fault as fault:
        turn.call.runtime.log("warning", "compaction_failed", reason=fault.reason or fault.code)
    finally:
        timer.when = NEVER
        held.compacting = False
        metrics = turn.call.runtime.metrics
        metrics.add("context_compactions_total", (result, "background"), ("reason", "mode"))


async def compact(
    call: ModelCall, repository: Repository, asker: Any, held: Held, branch: str, head: str, policy: ContextPolicy,
    upto: str = "",
) -> str:  # fmt: skip
    """Summarise *branch* of *held*, whose head is *head*. What became of it: ``done``; ``nothing`` to make short;
    ``empty``, the summary is none; ``late``, somebody was faster. Raises the model's Faults."""
    view = held.view(head)
    found = victims(view, policy, upto)
    if not found:
        return "nothing"
    model = call.name if policy.compact.model == "same" else policy.compact.model
    answer = await ask_part(call, model, summary_request(model, found, policy), call.account)
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
