"""Models made of models (LLM 14): what a step is asked, which branch wins, which model a rule means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from tidegate.exchange.chat import ChatAnswer, ChatRequest, Choice, Cited, Message, Output, Text
from tidegate.wire.json_object import encode

LABEL: Final = "label"


def text_of(answer: ChatAnswer) -> str:
    """All text of the first choice."""
    if not answer.choices:
        return ""
    return "".join([part.text for part in answer.choices[0].parts if isinstance(part, (Text, Cited))])


def words_of(request: ChatRequest) -> str:
    """The text of the last user turn."""
    for message in reversed(request.messages):
        if message.role == "user":
            return "".join([part.text for part in message.parts if isinstance(part, Text)])
    return ""


def rendered(pieces: Sequence[str], outputs: dict[str, str]) -> str:
    """*pieces* are texts at even places and names of steps at odd ones."""
    return "".join([outputs.get(piece, "") if number % 2 else piece for number, piece in enumerate(pieces)])


def step_request(
    request: ChatRequest, inputs: Sequence[tuple[str, Sequence[str]]], outputs: dict[str, str]
) -> ChatRequest:
    """What a step is asked: the request, then its inputs; without inputs of its own, what the step before it said."""
    if inputs:
        said = [(name, rendered(pieces, outputs)) for name, pieces in inputs]
        text = said[0][1] if len(said) == 1 else "\n\n".join([f"{name}:\n{value}" for name, value in said])
    elif outputs:
        text = list(outputs.values())[-1]
    else:
        return request
    return replace(request, messages=(*request.messages, Message("user", (Text(text=text),))))


def plain_request(request: ChatRequest) -> ChatRequest:
    """The same for a step that nobody hears: one whole answer in text."""
    return replace(
        request,
        stream=False,
        want_usage=False,
        tools=(),
        output=None,
        state=None,
        sampling=replace(request.sampling, n=1),
    )


def normal(text: str) -> str:
    """*text* as votes compare it: JSON by its values, anything else by its words."""
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        try:
            return json.dumps(json.loads(stripped), sort_keys=True)
        except ValueError:
            pass
    return " ".join(stripped.casefold().split()).rstrip(".!")


def elected(texts: Sequence[str]) -> int:
    """The place of the text that most agree on; of equals, the first."""
    votes = [normal(text) for text in texts]
    best = 0
    for number, vote in enumerate(votes):
        if votes.count(vote) > votes.count(votes[best]):
            best = number
    return best


def joined(answers: Sequence[ChatAnswer]) -> ChatAnswer:
    """One answer with the texts of all, in order."""
    text = "\n\n".join([text_of(answer) for answer in answers])
    return replace(answers[0], choices=(Choice(0, (Text(text=text),)),), extra=None)


def rule_fits(conditions: dict[str, str], words: str, task: str) -> bool:
    """All of ``task`` (the client's wish), ``contains`` (in the last user turn, case aside) and ``longer`` (characters
    of it) that a rule has."""
    if "task" in conditions and conditions["task"] != task:
        return False
    if "contains" in conditions and conditions["contains"].casefold() not in words.casefold():
        return False
    return not ("longer" in conditions and len(words) <= int(conditions["longer"]))


def label_request(model: str, words: str, labels: Sequence[str]) -> ChatRequest:
    """Asks a classifier for one of *labels*."""
    schema = {
        "type": "object", "properties": {LABEL: {"type": "string", "enum": list(labels)}}, "required": [LABEL],
        "additionalProperties": False,
    }  # fmt: skip
    told = f"Answer with one label for the text: {', '.join(labels)}. Nothing else."
    return ChatRequest(
        model,
        (Message("system", (Text(text=told),)), Message("user", (Text(text=words),))),
        output=Output("schema", LABEL, encode(schema), True),
        max_output=32,
    )


def label_in(text: str, labels: Sequence[str]) -> str:
    """The label an answer gives, "" when it gives none."""
    said = text.strip()
    try:
        found = json.loads(said)
    except ValueError:
        found = None
    if isinstance(found, dict):
        said = str(found.get(LABEL, ""))
    said = normal(said).strip("\"'`")
    for label in labels:
        if normal(label) == said:
            return label
    return ""
