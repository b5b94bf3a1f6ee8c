"""What each dialect cannot say, feature by feature, found out by asking its writer: ``docs/llm/losses.md``.

``python tests/docs/loss_table.py`` prints the page; ``make docs`` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tidegate.assembly.models import dialects
from tidegate.exchange.chat import (
    Audio,
    CacheMark,
    ChatRequest,
    Citation,
    Cited,
    File,
    Image,
    Message,
    Output,
    Part,
    Sampling,
    State,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Video,
)
from tidegate.ports.dialect import Voice

COLUMNS: Final = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic_messages": "anthropic",
    "gemini_generate": "gemini",
    "bedrock_converse": "bedrock",
}
"""Dialect → the vendor that speaks it."""
IN_SILENCE: Final = "in silence"
"""What no cell may say."""

ASK: Final = Message("user", (Text(text="Hi."),))
SCHEMA: Final = b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}'
TOOL: Final = Tool("look", "Looks.", SCHEMA)
CALL: Final = ToolCall(id="call_1", name="look", arguments='{"a":"b"}')
PICTURE: Final = Image(mime="image/png", data=b"iVBORw0KGgo=")


def asked(**changes: Any) -> ChatRequest:
    return msgspec.structs.replace(ChatRequest("m", (ASK,), max_output=4000), **changes)


def said(*parts: Part) -> ChatRequest:
    return asked(messages=(Message("user", (*ASK.parts, *parts)),))


def answered(*parts: Part, **more: Any) -> ChatRequest:
    """A loop of tools whose call was answered with *parts*."""
    result = ToolResult(call_id="call_1", name="look", parts=parts, **more)
    messages = (ASK, Message("assistant", (CALL,)), Message("tool", (result,)))
    return asked(messages=messages, tools=(TOOL,))


def sampled(**wishes: Any) -> ChatRequest:
    return asked(sampling=Sampling(**wishes))


def recalled(*parts: Part) -> ChatRequest:
    """A conversation in which the model said *parts* before."""
    return asked(messages=(ASK, Message("assistant", parts), ASK))


def features() -> Iterator[tuple[str, ChatRequest]]:
    """(feature in words, a request that has it and nothing else of note)."""
    yield "system turn first", asked(messages=(Message("system", (Text(text="Be kind."),)), ASK))
    yield "system turn later", asked(messages=(ASK, Message("system", (Text(text="Be kind."),)), ASK))
    yield "an answer to go on from (prefill)", asked(messages=(ASK, Message("assistant", (Text(text="So,"),))))
    yield "name of who speaks", asked(messages=(Message("user", ASK.parts, name="ann"),))
    yield "picture", said(PICTURE)
    yield "picture by URL", said(Image(url="https://a.example/b.png"))
    yield "sound", said(Audio(mime="audio/wav", data=b"UklGRg=="))
    yield "film", said(Video(mime="video/mp4", data=b"AAAA"))
    yield "PDF", said(File(mime="application/pdf", data=b"JVBERi0=", title="a.pdf"))
    yield "tools", asked(tools=(TOOL,))
    yield "tools held to their schema (strict)", asked(tools=(msgspec.structs.replace(TOOL, strict=True),))
    yield "a tool must be called", asked(tools=(TOOL,), tool_choice=ToolChoice("required"))
    yield "this tool must be called", asked(tools=(TOOL,), tool_choice=ToolChoice("one", ("look",)))
    yield "no tool may be called", asked(tools=(TOOL,), tool_choice=ToolChoice("none"))
    yield "one call at a time", asked(tools=(TOOL,), parallel_tools=False)
    yield "result of a tool", answered(Text(text="done"))
    yield "result that is an error", answered(Text(text="no"), is_error=True)
    yield "picture in a result", answered(Text(text="see"), PICTURE)
    yield "JSON as output", asked(output=Output("json"))
    yield "output by a schema", asked(output=Output("schema", "form", SCHEMA, True))
    yield "effort of thinking", asked(thinking=Thinking(effort="high"))
    yield "budget of thinking", asked(thinking=Thinking(budget=2000))
    yield "no thinking", asked(thinking=Thinking("off"))
    yield "earlier thoughts, unsealed", recalled(Thought(text="Hm."), *ASK.parts)
    yield "earlier citations", recalled(Cited(text="So.", citations=(Citation(url="https://a.example/", title="A"),)))
    yield "temperature", sampled(temperature=0.5)
    yield "temperature above 1", sampled(temperature=1.5)
    yield "top_p", sampled(top_p=0.5)
    yield "top_k", sampled(top_k=5)
    yield "seed", sampled(seed=7)
    yield "frequency penalty", sampled(frequency_penalty=0.5)
    yield "presence penalty", sampled(presence_penalty=0.5)
    yield "logit bias", sampled(logit_bias=b'{"50256":-100}')
    yield "log probabilities", sampled(logprobs=True)
    yield "several answers (n)", sampled(n=2)
    yield "verbosity", sampled(verbosity="low")
    yield "stop sequences", asked(stop=("END",))
    yield "tier of service", asked(tier="flex")
    yield "user", asked(user="u-1")
    yield "metadata", asked(metadata=b'{"team":"a"}')
    yield "cache mark on a part", said(Text(text="long", cache=CacheMark()))
    yield "predicted output", asked(prediction=b'{"type":"content","content":"a"}')
    yield "stored conversation", asked(state=State(previous_id="resp_1"))


def cell(dialect: Any, vendor: str, request: ChatRequest) -> str:
    """What becomes of a feature: ``yes``, the losses, or ``in silence`` for what must never be."""
    voice = Voice(vendor=vendor, model="m")
    out = dialect.write_request(request, voice)
    if out.losses:
        return ", ".join(f"`{loss}`" for loss in out.losses)
    without = asked(tools=request.tools) if request.tools and request != asked(tools=request.tools) else asked()
    return "yes" if out.body != dialect.write_request(without, voice).body else IN_SILENCE


def page() -> str:
    """The whole page."""
    known = dialects()
    lines = [
        "# What gets lost in translation",
        "",
        "A call whose client and target speak the same dialect is passed as it came: nothing is lost. Else it is",
        "written anew, and what the target's dialect cannot say is named in `x-tidegate-loss` and in the ledger, in",
        "the words below. `yes`: the dialect says it. A vendor of a dialect may lack more; its preset says so, and",
        "the loss is named then, too. This page is written by `make docs` out of the code.",
        "",
        "| | " + " | ".join(f"`{name}`" for name in COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for words, request in features():
        cells = [cell(known[name], vendor, request) for name, vendor in COLUMNS.items()]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
