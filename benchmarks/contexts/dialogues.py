"""Dialogues made up from a seed, shaped like those of an airline's desk: a long policy, fourteen tools, short
questions, longer answers, a tool called every third turn. No data of anybody is used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random

from tidegate.exchange.chat import ChatRequest, Message, Part, Text, Tool, ToolCall, ToolResult

_TEXT = """
    flight change seat bag fee train gate date window refund ticket name booking reference delay connection hotel please
    could would before after tomorrow morning evening confirm cancel keep price card points member group
"""
WORDS = tuple(_TEXT.split())


@dataclass(frozen=True)
class Turn:
    """What the user's side brings, what the model answers."""

    brings: tuple[Message, ...]
    answers: tuple[Part, ...]


def prose(random: Random, characters: int) -> str:
    text = ""
    while len(text) < characters:
        text += random.choice(WORDS) + " "
    return text[:characters]


def settings(seed: int) -> ChatRequest:
    """Model, policy text of 6 KB, tools of 8 KB."""
    random = Random(seed)
    tools = []
    for number in range(14):
        members = {f"field_{at}": {"type": "string", "description": prose(random, 60)} for at in range(4)}
        schema = json.dumps({"type": "object", "properties": members}).encode()
        tools.append(Tool(f"tool_{number:02d}", prose(random, 120), schema))
    lead = Message("system", (Text(text=prose(random, 6000)),))
    return ChatRequest("m", (lead,), tools=tuple(tools), max_output=1024)


def dialogue(seed: int, turns: int) -> list[Turn]:
    random = Random(seed)
    found: list[Turn] = []
    calling = ""
    for number in range(turns):
        brings: list[Message] = []
        if calling:
            result = json.dumps({"found": prose(random, random.randint(200, 1200))})
            brings.append(Message("tool", (ToolResult(call_id=calling, name="tool_01", parts=(Text(text=result),)),)))
        else:
            brings.append(Message("user", (Text(text=prose(random, random.randint(40, 300))),)))
        calling = f"call_{seed}_{number}" if random.random() < 0.33 and number + 1 < turns else ""
        answers: list[Part] = [Text(text=prose(random, random.randint(100, 500)))]
        if calling:
            answers.append(ToolCall(id=calling, name="tool_01", arguments=json.dumps({"field_0": prose(random, 20)})))
        found.append(Turn(tuple(brings), tuple(answers)))
    return found
