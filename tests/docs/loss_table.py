"""What each dialect cannot say, feature by feature, found out by asking its writer: ``docs/llm/losses.md``.

``python tests/docs/loss_table.py`` prints the page; ``make docs`` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from tidegate.assembly.models import dialects
from tidegate.exchange.chat import (
    Audio,
    CacheMark,
    ChatAnswer,
    ChatRequest,
    Choice,
    Citation,
    Cited,
    File,
    Image,
    Message,
    Origin,
    Output,
    Part,
    Refusal,
    Sampling,
    SealedThought,
    State,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
    Video,
)
from tidegate.ports.dialect import Voice
from tidegate.rules.chat_assembly import deltas_of

COLUMNS: Final = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic_messages": "anthropic",
    "gemini_generate": "gemini",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "ollama_chat": "ollama",
}
"""Dialect → the vendor that speaks it."""
IN_SILENCE: Final = "in silence"
"""What no cell may say."""
CACHE: Final = "cache mark on a part"
"""A hint: a vendor that caches by itself needs none, and no answer changes (LLM 5.7)."""

ASK: Final = Message("user", (Text(text="Hi."),))
SCHEMA: Final = b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}'
TOOL: Final = Tool("look", "Looks.", SCHEMA)
CALL: Final = ToolCall(id="call_1", name="look", arguments='{"a":"b"}')
PICTURE: Final = Image(mime="image/png", data=b"iVBORw0KGgo=")


def asked(**changes: Any) -> ChatRequest:
    return msgspec.structs.replace(ChatRequest("m", (ASK,), max_output=4000), **changes)


TOOLED: Final = asked(tools=(TOOL,))


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


def features() -> Iterator[tuple[str, ChatRequest] | tuple[str, ChatRequest, ChatRequest]]:
    """(feature in words, a request that has it, the same without it where that is more than ``asked()``)."""
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
    yield "tools held to their schema (strict)", asked(tools=(msgspec.structs.replace(TOOL, strict=True),)), TOOLED
    yield "a tool must be called", asked(tools=(TOOL,), tool_choice=ToolChoice("required")), TOOLED
    yield "this tool must be called", asked(tools=(TOOL,), tool_choice=ToolChoice("one", ("look",))), TOOLED
    yield "no tool may be called", asked(tools=(TOOL,), tool_choice=ToolChoice("none")), TOOLED
    yield "one call at a time", asked(tools=(TOOL,), parallel_tools=False), TOOLED
    yield "result of a tool", answered(Text(text="done"))
    yield "result that is an error", answered(Text(text="no"), is_error=True), answered(Text(text="no"))
    yield "picture in a result", answered(Text(text="see"), PICTURE), answered(Text(text="see"))
    yield "JSON as output", asked(output=Output("json"))
    yield "output by a schema", asked(output=Output("schema", "form", SCHEMA, True))
    yield "effort of thinking", asked(thinking=Thinking(effort="high"))
    yield "budget of thinking", asked(thinking=Thinking(budget=2000))
    yield "no thinking", asked(thinking=Thinking("off"))
    yield "earlier thoughts, unsealed", recalled(Thought(text="Hm."), *ASK.parts), recalled(*ASK.parts)
    cited = Cited(text="So.", citations=(Citation(url="https://a.example/", title="A"),))
    yield "earlier citations", recalled(cited), recalled(Text(text="So."))
    yield "temperature", sampled(temperature=0.5)
    yield "temperature above 1", sampled(temperature=1.5), sampled(temperature=1.0)
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
    yield CACHE, said(Text(text="long", cache=CacheMark())), said(Text(text="long"))
    yield "predicted output", asked(prediction=b'{"type":"content","content":"a"}')
    yield "stored conversation", asked(state=State(previous_id="resp_1"))


def answered_with(*parts: Part, **more: Any) -> Callable[[str], ChatAnswer]:
    """An answer of *parts*, their seals made by the vendor it is given."""

    def answer(vendor: str) -> ChatAnswer:
        own = [
            msgspec.structs.replace(part, origin=Origin(vendor))
            if isinstance(part, Thought | SealedThought | ToolCall)
            else part
            for part in parts
        ]
        return ChatAnswer("a", "m", 1, (Choice(parts=tuple(own), **more),), Usage(1, 1))

    return answer


def answers() -> Iterator[tuple[str, Callable[[str], ChatAnswer]]]:
    """(feature in words, an answer that has it, by the vendor whose seals it holds)."""
    yield "calls of tools", answered_with(CALL, stop="tool_calls")
    yield "thought", answered_with(Thought(text="Hm."), *ASK.parts)
    yield "thought with its signature", answered_with(Thought(text="Hm.", signature=b"c2ln"), *ASK.parts)
    yield "sealed thought", answered_with(SealedThought(data=b"c2ln"), *ASK.parts)
    yield "signature on a call", answered_with(msgspec.structs.replace(CALL, signature=b"c2ln"), stop="tool_calls")
    yield "refusal", answered_with(Refusal(text="No."), stop="refusal")
    yield "citations", answered_with(Cited(text="So.", citations=(Citation(url="https://a.example/", title="A"),)))
    yield "picture", answered_with(PICTURE)
    yield "sound", answered_with(Audio(mime="audio/wav", data=b"UklGRg=="))
    yield "log probabilities", answered_with(*ASK.parts, logprobs=b'{"content":[]}')
    yield "a pause", answered_with(*ASK.parts, stop="pause")
    two = (Choice(0, ASK.parts), Choice(1, ASK.parts))
    yield "several answers (n)", lambda vendor: ChatAnswer("a", "m", 1, two, Usage(1, 1))


def told_cell(dialect: Any, answer: ChatAnswer) -> str:
    """What becomes of an answer: ``yes`` or the losses, of a whole answer and of a stream."""
    asking = asked()
    writer = dialect.events_writer(asking, "id", 1, dialect.framing)
    for delta in deltas_of(answer):
        writer.write(delta)
    whole = dialect.write_answer(answer, asking, 1).losses
    losses = dict.fromkeys(loss.removeprefix("answer.").removeprefix("parts.") for loss in (*whole, *writer.losses))
    return ", ".join(f"`{loss}`" for loss in losses) or "yes"


def cell(dialect: Any, vendor: str, request: ChatRequest, without: ChatRequest | None = None) -> str:
    """What becomes of a feature: ``yes``, the losses, or ``in silence`` for what must never be."""
    voice = Voice(vendor=vendor, model="m")
    out = dialect.write_request(request, voice)
    if out.losses:
        return ", ".join(f"`{loss}`" for loss in out.losses)
    return "yes" if out.body != dialect.write_request(without or asked(), voice).body else IN_SILENCE


def page() -> str:
    """The whole page."""
    known = dialects()
    lines = [
        "# What gets lost in translation",
        "",
        "A call whose client and target speak the same dialect is passed as it came: nothing is lost. Else it is",
        "written anew, and what the target's dialect cannot say is named in `x-tidegate-loss` and in the ledger, in",
        "the words below. `yes`: the dialect says it. A vendor of a dialect may lack more; its preset says so, and",
        "the loss is named then, too. A cache mark is a hint: a vendor that caches by itself has no need of it. This",
        "page is written by `make docs` out of the code.",
        "",
        "| | " + " | ".join(f"`{name}`" for name in COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for words, *requests in features():
        cells = [cell(known[name], vendor, *requests) for name, vendor in COLUMNS.items()]
        if words == CACHE:
            cells = [each.replace(IN_SILENCE, "no need") for each in cells]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## What a client is not told",
        "",
        "The other way round: what an answer may hold and the client's dialect cannot say, whole or in a stream. What",
        "a stream loses is in the ledger only.",
        "",
        "| | " + " | ".join(f"`{name}`" for name in COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for words, answer in answers():
        told = [told_cell(known[name], answer(vendor)) for name, vendor in COLUMNS.items()]
        lines.append(f"| {words} | " + " | ".join(told) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
