"""The stream of a text completion: its edges. Its tables are in ``tests/dialects/test_openai_completions.py``."""

from __future__ import annotations

import json

from tidegate.exchange.chat import END, Open, Piece, Start, Stopped, Text, Thought, Usage, Used
from tidegate.rules.chat_order import check_order
from tidegate.rules.completion_events import CompletionEventReader, CompletionEventWriter


def test_a_choice_that_says_nothing_stops_without_a_part() -> None:
    reader = CompletionEventReader({})
    told = reader.feed("", b'{"choices":[{"index":1,"text":"","finish_reason":"length"},{"index":-1,"text":"x"}]}')
    told += reader.feed("", b"[DONE]") + reader.close()
    check_order(told)
    assert told == [Start(), Stopped(1, "length"), END]


def test_what_is_no_text_is_lost() -> None:
    writer = CompletionEventWriter("i", 0, "m", True)
    writer.write(Start())
    assert writer.write(Open(0, 0, "thought", Thought(text=""))) == b"" == writer.write(Piece(0, 0, "a"))
    assert b'"text":"b"' in writer.write(Open(0, 1, "text", Text(text="b")))
    assert writer.losses == ["thought"]
    writer.write(Used(Usage(input=1, output=2)))
    last = writer.write(END)
    assert last.endswith(b"data: [DONE]\n\n")
    assert json.loads(last.split(b"\n\n")[0][6:])["usage"]["total_tokens"] == 3
    assert writer.comment("a") == b": a\n\n" and writer.heartbeat() == b":\n\n"
