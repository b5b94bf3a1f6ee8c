from __future__ import annotations

import pytest

from tidegate.exchange.chat import ChatRequest, File, Image, Message, Text, ToolResult
from tidegate.rules.media_links import inlined, links

PICTURE = "https://example.com/a.png"
PAPER = "https://example.com/a.pdf"
CALL = ChatRequest(
    "m",
    (
        Message("user", (Text(text="see"), Image(url=PICTURE, detail="high", raw=b"{}"), File(url=PAPER)), raw=b"{}"),
        Message("tool", (ToolResult(call_id="1", parts=(Image(url=PICTURE),)),)),
        Message("user", (Image(data=b"aGk="), Image(url="gs://b/a.png"), Image(url="s3://b/a.png")), raw=b"{}"),
    ),
)
PLAIN: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("dialect", "lacks", "wanted"),
    [
        ("openai_chat", PLAIN, {}),
        ("anthropic_messages", PLAIN, {}),
        ("openai_chat", frozenset({"image_url"}), {PICTURE: Image}),
        ("ollama_chat", PLAIN, {PICTURE: Image}),
        ("bedrock_converse", PLAIN, {PICTURE: Image, PAPER: File}),
    ],
)
def test_only_what_the_target_does_not_follow_is_wanted(dialect: str, lacks: frozenset[str], wanted: object) -> None:
    assert links(CALL, dialect, lacks) == wanted


def test_bytes_stand_where_the_link_stood_and_what_was_read_is_not_spliced_any_more() -> None:
    fetched = {PICTURE: ("image/png", b"AAAA")}
    got = inlined(CALL, "ollama_chat", PLAIN, fetched)
    assert got.messages[0] == Message(
        "user", (Text(text="see"), Image(mime="image/png", data=b"AAAA", detail="high"), File(url=PAPER))
    )
    result = got.messages[1].parts[0]
    assert isinstance(result, ToolResult) and result.parts == (Image(mime="image/png", data=b"AAAA"),)
    assert got.messages[2] is CALL.messages[2]
    assert inlined(CALL, "openai_chat", PLAIN, fetched) == CALL
