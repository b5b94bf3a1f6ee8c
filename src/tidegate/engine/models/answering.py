"""What the gateway itself says on a model route: heads, the fields of LLM 15, faults in the client's own dialect."""

from __future__ import annotations

import math
from typing import Final

from tidegate.engine.lanes.http import chunk_hooks, remade
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.calls import Reached
from tidegate.exchange.chat import Usage
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import UPSTREAM, Fault
from tidegate.exchange.head import CHUNKED, Answer, Fields, ResponseHead
from tidegate.ports.dialect import MEDIA_TYPES, EventWriter
from tidegate.ports.models import ModelsPlan
from tidegate.rules.context_told import CODES, coded, with_details
from tidegate.rules.pricing import dollars
from tidegate.rules.surfaces import dialect_of
from tidegate.wire.http1_encode import REASONS
from tidegate.wire.problem import problem

PLAIN_WORDS: Final = "openai_chat"
"""Faults of surfaces without a dialect are told in these words."""

LOSS_SIZE: Final = 1024
"""Bytes of ``x-tidegate-loss``; the record has all."""

AGAIN: Final = frozenset({408, 409, 500, 502, 503, 504, 529})
"""Statuses that another try may help, unless the fault says otherwise (S6.4)."""

HOPELESS: Final = frozenset({
    "budget_exceeded", "quota_exceeded", "context_conflict", "history_diverged", "merge_conflict",
})  # fmt: skip
"""Codes that no repetition helps; SDKs would repeat any 409 by themselves (CRP 3.7)."""
HOPELESS_REASONS: Final = frozenset({"upstream_auth", "upstream_denied", "upstream_quota", "no_credential", "fenced"})

TOLD_MEMBERS: Final = frozenset({"context", "errors", "levels", "supported"})
"""What CRP adds to an error."""

PASSED: Final = frozenset({"content-type", "content-disposition", "content-encoding", "retry-after"})
"""Fields of a provider's answer that go on (LLM 4)."""


def new_writer(call: ModelCall) -> EventWriter:
    """A writer of one stream for the client of *call*."""
    id = call.x.request_id or call.x.trace_id if call.turn is None else call.turn.answer_id
    return call.dialect.events_writer(call.bare_request(), id, int(call.runtime.wall()), call.framing)


def stream_head(call: ModelCall, reached: Reached | None) -> ResponseHead:
    """The head of a stream; without *reached* nobody has said anything yet, and who will is not known."""
    if call.plain and reached is not None:
        fields = passed_fields(reached.head)
        return finished_head(call, reached.head.status, fields + target_fields(call, reached), reached.head.body_length)
    fields = [("content-type", MEDIA_TYPES[call.framing]), ("cache-control", "no-cache")]
    if call.framing == "sse":
        fields.append(("x-accel-buffering", "no"))
    if reached is not None:
        fields += target_fields(call, reached)
    return finished_head(call, 200, fields, CHUNKED)


def passed_fields(head: ResponseHead) -> Fields:
    """The fields of a provider's answer that go on (LLM 4)."""
    return [field for field in head.fields if field[0] in PASSED]


def finished_head(call: ModelCall, status: int, fields: Fields, length: int) -> ResponseHead:
    """A head after the route's answer hooks, with what filters added for whatever goes out."""
    x = call.x
    head = ResponseHead(status, REASONS.get(status, ""), fields, length)
    if x.answer_fields is not None:
        head.fields.extend(x.answer_fields)
    if call.turn is not None:
        head.fields.extend(call.turn.fields())
    for hook in call.route.on_response_head:
        hook(x, head)
    if x.request_id:
        head.fields.append(("x-request-id", x.request_id))
    x.status = head.status
    x.first_byte_at = call.runtime.clock()
    return head


def send_whole(call: ModelCall, status: int, fields: Fields, body: bytes) -> None:
    """A whole answer, after the route's hooks on heads and pieces."""
    head = finished_head(call, status, fields, len(body))
    if call.route.on_response_chunk:
        body = remade(call.x, head, chunk_hooks(call.route, call.x), body)
    call.client.send_whole(call.x, head, body)


def target_fields(call: ModelCall, reached: Reached) -> Fields:
    """What LLM 15 tells of the target that serves."""
    expose = call.llm.expose
    if expose == "none":
        return []
    candidate = reached.candidate
    fields: Fields = [
        ("x-tidegate-model", plain(candidate.model)),
        ("x-tidegate-provider", plain(candidate.target.provider.name)),
    ]
    losses = call.losses or reached.losses
    if losses:
        fields.append(("x-tidegate-loss", loss_text(losses)))
    if call.clamped:
        fields.append(("x-tidegate-clamped", call.clamped))
    upstream_id = reached.head.get("x-request-id") or reached.head.get("request-id")
    if upstream_id:
        fields.append(("x-tidegate-upstream-request-id", plain(upstream_id)[:128]))
    if expose == "full":
        x = call.x
        now = call.runtime.clock()
        fields.append(("x-tidegate-attempts", str(x.attempts)))
        fields.append(("server-timing", f"upstream;dur={(reached.at - reached.begun) * 1000:.1f}, "
                       f"total;dur={(now - x.started) * 1000:.1f}"))  # fmt: skip
    return fields


def money_fields(call: ModelCall, cost: int, usage: Usage | None) -> Fields:
    """What a unary answer tells of its cost."""
    if call.llm.expose == "none":
        return []
    fields: Fields = [("x-tidegate-cost", dollars(cost))]
    if usage is not None:
        fields.append(("x-tidegate-usage", f"input={usage.input}, output={usage.output}"))
    return fields


def loss_text(losses: tuple[str, ...]) -> str:
    """A structured list of strings, at most 1 KB; then how many more there are."""
    out = ""
    for number, loss in enumerate(losses):
        item = '"' + plain(loss).replace("\\", "").replace('"', "") + '"'
        if len(out) + len(item) > LOSS_SIZE - 16:
            return f'{out}, "+{len(losses) - number}"'
        out += (", " if out else "") + item
    return out


def plain(text: str) -> str:
    """*text* as it may stand in a field."""
    if text.isascii() and text.isprintable():
        return text
    return "".join([c if " " <= c <= "~" else "?" for c in text])


def shaped_fault(models: ModelsPlan | None, fault: Fault, x: Exchange, gateway: str) -> Answer:
    """*fault* as the SDK that sent *x* expects it (LLM 5.11), whichever part of the gateway it came from; a problem
    where no dialect is there to say it."""
    told = problem(fault, x.request_id, x.trace_id, gateway)
    dialect = None
    if models is not None:
        dialect = models.dialects.get(dialect_of(x.path, x.head.index)) or models.dialects.get(PLAIN_WORDS)
    if dialect is None:
        return told
    if fault.code == "context_overflow" and dialect.name.startswith("openai"):
        fault = Fault("context_length", fault.detail, reason=fault.reason, extra=fault.extra)  # as its SDKs expect
    written = dialect.write_fault(fault, x.request_id)
    said = {name for name, _ in written.fields}
    kept = [f for f in told.fields if f[0] != "content-type" and f[0] not in said]
    fields: Fields = [("content-type", "application/json"), *written.fields, *kept]
    wait = fault.retry_after
    if wait > 0.0 and not any(name == "retry-after" for name, _ in fields):
        fields.append(("retry-after", str(max(1, math.ceil(wait)))))
    fields.append(("x-should-retry", "true" if helps(fault, written.status) else "false"))
    body = written.body
    if fault.code in CODES:
        body = coded(body, fault.code)
    if fault.extra is not None:
        body = with_details(body, {name: value for name, value in fault.extra.items() if name in TOLD_MEMBERS})
    return Answer(written.status, fields, body, told.close)


def helps(fault: Fault, status: int) -> bool:
    """May the client's own SDK try again (LLM 5.11)?"""
    if fault.code in HOPELESS or fault.reason in HOPELESS_REASONS:
        return False
    if fault.code == "conversation_locked":
        return True
    if status == 429:
        return True
    if fault.side == UPSTREAM and fault.code == "model_not_found":
        return False
    return status in AGAIN
