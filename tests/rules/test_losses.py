"""What could not be said (LLM 5.1, 5.12)."""

from __future__ import annotations

from tidegate.exchange.chat import ChatRequest, Extra, Output, Sampling, State
from tidegate.rules.losses import Losses
from tidegate.wire.json_object import encode


def test_a_loss_is_told_once_and_in_order() -> None:
    losses = Losses()
    for what in ("b", "a", "b"):
        losses.lose(what)
    assert losses.told == ["b", "a"]


def test_members_go_out_in_their_own_dialect_or_when_accepted() -> None:
    losses = Losses()
    body: dict[str, object] = {"a": 1}
    losses.extras(body, Extra("x", (("a", b"2"), ("b", b"[3]"), ("c", b""))), "x", frozenset(), "")
    losses.extras(body, Extra("y", (("d", b"4"), ("e", b"5"), ("f", b""))), "x", frozenset(("d",)), "tools[0]")
    losses.extras(body, None, "x", frozenset(), "")
    assert encode(body) == b'{"a":1,"b":[3],"d":4}'
    assert losses.told == ["tools[0].e"]


def test_every_wish_outside_the_words_of_a_target_is_named() -> None:
    request = ChatRequest(
        "m",
        sampling=Sampling(1.0, 1.0, 1, 0, 0.0, 0.0, b"{}", True, 0, 2, "low"),
        max_output=1, stop=("x",), user="u", metadata=b"{}", tier="flex", prediction=b"{}", parallel_tools=False,
        output=Output(modalities=("audio", "image")), state=State("p", "c", True, True, "auto"),
    )  # fmt: skip
    losses = Losses()
    losses.unsaid(request, frozenset(("top_k", "tier")))
    assert losses.told == [
        "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs",
        "top_logprobs", "n", "verbosity", "max_output", "stop", "user", "metadata", "prediction", "parallel_tools",
        "output.audio", "output.image", "previous_response_id", "conversation", "store", "background", "truncation",
    ]  # fmt: skip


def test_what_goes_without_saying_is_no_loss() -> None:
    losses = Losses()
    losses.unsaid(ChatRequest("m", parallel_tools=True, state=State(store=False), output=Output("json")), frozenset())
    assert losses.told == []
