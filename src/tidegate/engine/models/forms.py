"""Bodies that stream through and are never held whole: forms with a file in them, uploads (LLM 6).

Of a form only ``model`` is read, and rewritten; the rest goes to the target as it comes.
"""

from __future__ import annotations

from typing import Final

from tidegate.engine.models.asking import MODEL_NAME, ModelCall
from tidegate.engine.request_body import RequestBody
from tidegate.engine.sides import Side
from tidegate.engine.steps import Wait
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import CHUNKED, Fields
from tidegate.wire.multipart import FieldFinder, FieldWatch, boundary_of

FORM: Final = "multipart/form-data"


class Form(Side):
    """Stands between the client's body and the one a target gets. ``found`` completes with the model's name; from then
    on the client waits until ``open`` says what the target shall read there.

    Mutable state: ``behind``, pieces that came with the field; ``out``, the body on its way to a target.
    """

    def __init__(self, call: ModelCall, body: RequestBody) -> None:
        self.call = call
        self.body = body
        boundary = boundary_of(call.x.head.index.get("content-type", ""))
        self.finder = FieldFinder(boundary, "model")
        self.watch = FieldWatch(boundary, "model")
        self.found = Wait(call.runtime.steps)
        self.named = False
        self.ended = False
        self.behind: list[bytes] = []
        self.out: RequestBody | None = None

    def take_request_chunk(self, chunk: bytes) -> None:
        self.watch.feed(chunk)
        out = self.out
        if out is not None:
            out.feed(chunk)
        elif self.named:
            self.behind.append(chunk)
        elif not self.found.done:
            try:
                self.named = self.finder.feed(chunk)
            except Fault as fault:
                self.found.fail(fault)
                return
            if self.named:
                self.call.client.pause_source()
                self.found.complete(self.finder.value)

    def take_request_end(self, trailers: Fields) -> None:
        self.ended = True
        if self.out is not None:
            self.out.finish([])
        elif not self.named:
            self.found.fail(Fault("invalid_request", "The form has no field model.", side=CLIENT))

    def open(self, model: str) -> RequestBody:
        """The body for the target that serves *model*."""
        first = self.finder.rewritten(model)
        length = self.body.length
        if length != CHUNKED:
            length += len(first) - len(self.finder.held)
        out = self.out = RequestBody(self.call.runtime.steps, self.call.client, length, self.body.limit * 2)
        out.feed(first)
        for piece in self.behind:
            out.feed(piece)
        self.behind = []
        if self.ended:
            out.finish([])
        if not out.paused:
            self.call.client.resume_source()
        return out

    def close(self) -> None:
        """Nobody reads on."""
        self.body.detach()
        self.call.client.resume_source()


def is_form(call: ModelCall) -> bool:
    return call.x.head.index.get("content-type", "").lower().startswith(FORM)


async def read_form(call: ModelCall, body: RequestBody | None) -> Form:
    """The form of *call*, as far as its model. Raises ``invalid_request``, ``body_too_large``."""
    if body is None:
        raise Fault("invalid_request", "The call has no body.", side=CLIENT)
    limit = call.llm.multipart
    if body.length > limit:
        raise Fault("body_too_large", "The body is larger than this route allows.", side=CLIENT, close=True)
    body.limit = limit
    form = Form(call, body)
    if call.x.head.expect_continue and not body.complete and body.received == 0:
        call.client.send_continue()
    body.attach(form)
    model: str = await form.found
    if not 0 < len(model) <= MODEL_NAME or not model.isprintable():
        raise Fault("invalid_request", "model must be the name of a model.", side=CLIENT, reason="model")
    call.asked = model
    return form
