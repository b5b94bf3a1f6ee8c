"""The fake provider against the official SDKs, with no gateway between: what they accept here is what vendors say.

Proves both: the scripts can use the SDKs, and the fake speaks every dialect as their strict validation wants it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from real.llm.fake_dialects import INPUT, PIECES, TEXT
from real.llm.fake_provider import AWS_KEY_ID, FakeProvider, Trouble
from real.llm.sdks import need_npm, need_python, run_node, run_python

pytestmark = pytest.mark.timeout(180)

CALLS: Final = [["get_weather", {"city": "Paris"}], ["get_weather", {"city": "Zürich 🏔"}]]
SHAPES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "openai": {
        "text": ("chat", "chat_stream", "responses", "responses_stream", "completions", "completions_stream"),
        "tools": (
            "tools", "tools_stream", "tools_helper", "responses_tools", "responses_tools_stream", "responses_helper",
        ),
        "loop": ("loop", "responses_loop"),
    },
    "anthropic": {
        "text": ("messages", "messages_stream", "messages_helper"),
        "tools": ("tools", "tools_stream"),
        "loop": ("loop",),
    },
    "genai": {
        "text": ("generate", "generate_stream", "generate_async"),
        "tools": ("tools", "tools_stream"),
        "loop": ("loop",),
    },
    "mistralai": {"text": ("chat", "chat_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",)},
    "cohere": {"text": ("chat", "chat_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",)},
    "boto3": {"text": ("converse", "converse_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",)},
    "ollama": {"text": ("chat", "chat_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",)},
}  # fmt: skip
"""SDK -> what its script can do: ``text`` ends in the usual text, ``tools`` in two calls, ``loop`` sends results."""

NODE: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "openai": {
        "text": ("chat", "chat_stream", "responses"),
        "tools": ("tools", "tools_stream", "responses_tools_stream"),
        "loop": ("loop",),
    },
    "anthropic": {
        "text": ("messages", "messages_stream"), "tools": ("tools", "tools_stream"), "loop": ("loop",),
    },
    "ai": {
        "text": ("chat", "chat_stream", "responses", "responses_stream"),
        "tools": ("tools", "tools_stream", "responses_tools_stream"),
        "loop": ("loop",),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def fake(network: bool) -> Iterator[FakeProvider]:
    need_python()
    with FakeProvider() as made:
        yield made


@pytest.fixture(autouse=True)
def clean(fake: FakeProvider) -> None:
    fake.forget()


def job(fake: FakeProvider, *things: str, model: str = "up-model") -> dict[str, Any]:
    done = [{"do": thing, "model": model} for thing in things]
    return {"base": fake.url, "key": fake.key, "key_id": AWS_KEY_ID, "do": done}


@pytest.mark.parametrize("sdk", SHAPES)
def test_every_sdk_understands_its_dialect_whole_and_streamed(fake: FakeProvider, sdk: str) -> None:
    kinds = [(kind, thing) for kind, things in SHAPES[sdk].items() for thing in things]
    model = "mistral-up" if sdk == "mistralai" else "up-model"
    told = run_python(sdk, job(fake, *(thing for _, thing in kinds), model=model))
    for (kind, thing), answer in zip(kinds, told, strict=True):
        assert "error" not in answer, (thing, answer)
        if kind == "tools":
            assert [call[1:] for call in answer["calls"]] == CALLS, (thing, answer)
        else:
            assert (answer["text"], answer["calls"]) == (TEXT, []), (thing, answer)
        if kind == "text":
            assert answer["usage"] == [INPUT, len(PIECES)], (thing, answer)
    assert all(bill.whole for bill in fake.bills)
    assert len(fake.bills) == len([heard for heard in fake.heard if heard.shape is not None])


@pytest.mark.parametrize("sdk", NODE)
def test_every_package_of_npm_understands_its_dialect(fake: FakeProvider, sdk: str) -> None:
    need_npm()
    kinds = [(kind, thing) for kind, things in NODE[sdk].items() for thing in things]
    told = run_node(sdk, job(fake, *(thing for _, thing in kinds)))
    for (kind, thing), answer in zip(kinds, told, strict=True):
        assert "error" not in answer, (thing, answer)
        if kind == "tools":
            assert [call[1:] for call in answer["calls"]] == CALLS, (thing, answer)
        else:
            assert answer["text"] == TEXT, (thing, answer)
        if kind == "text":
            assert answer["usage"] == [INPUT, len(PIECES)], (thing, answer)


def test_thoughts_are_told_apart_from_text(fake: FakeProvider) -> None:
    for sdk, things in {
        "openai": ("chat", "chat_stream", "responses", "responses_stream"),
        "anthropic": ("messages", "messages_helper"),
        "genai": ("generate", "generate_stream"),
        "boto3": ("converse", "converse_stream"),
        "ollama": ("chat", "chat_stream"),
    }.items():
        for answer in run_python(sdk, job(fake, *things, model="up-think")):
            assert answer["thought"] == "Let me see.", (sdk, answer)
            assert answer["text"] == TEXT


def test_embeddings_counts_and_lists(fake: FakeProvider) -> None:
    vectors, models = run_python("openai", job(fake, "embeddings", "models"))
    assert vectors == {"vectors": [[0.0, 0.5, -0.25, 1.0], [1.0, 0.5, -0.25, 1.0]], "usage": INPUT}
    assert models == {"ids": ["up-model"]}
    assert run_python("anthropic", job(fake, "count")) == [{"count": INPUT}]
    assert run_python("genai", job(fake, "count", "embeddings")) == [
        {"count": INPUT}, {"vectors": [[0.0, 0.5], [1.0, 0.5]]},
    ]  # fmt: skip
    assert run_python("cohere", job(fake, "embeddings")) == [{"vectors": [[0.0, 0.5], [1.0, 0.5]]}]


@pytest.mark.parametrize(
    ("sdk", "things", "errors"),
    [
        ("openai", ("chat", "chat_stream", "responses"), {"RateLimitError"}),
        ("anthropic", ("messages", "messages_stream"), {"RateLimitError"}),
        ("genai", ("generate", "generate_stream"), {"ClientError"}),
        ("mistralai", ("chat", "chat_stream"), {"SDKError"}),
        ("cohere", ("chat", "chat_stream"), {"TooManyRequestsError"}),
        ("boto3", ("converse", "converse_stream"), {"ThrottlingException"}),
        ("ollama", ("chat", "chat_stream"), {"ResponseError"}),
    ],
)
def test_a_refusal_is_raised_as_the_class_that_means_it(
    fake: FakeProvider, sdk: str, things: tuple[str, ...], errors: set[str]
) -> None:
    fake.always = Trouble("status", status=429)
    told = run_python(sdk, job(fake, *things))
    assert {answer["error"] for answer in told} == errors
    assert {answer["status"] for answer in told} == {429}
    assert fake.bills == []


@pytest.mark.parametrize(
    ("sdk", "thing"),
    [
        ("openai", "chat_stream"), ("openai", "responses_stream"), ("anthropic", "messages_helper"),
        ("genai", "generate_stream"), ("cohere", "chat_stream"), ("boto3", "converse_stream"),
        ("ollama", "chat_stream"),
    ],
)  # fmt: skip
def test_an_error_within_a_stream_is_raised(fake: FakeProvider, sdk: str, thing: str) -> None:
    fake.always = Trouble("error", tokens=3)
    (told,) = run_python(sdk, job(fake, thing))
    assert told.get("error"), told
    assert [(bill.output, bill.whole) for bill in fake.bills] == [(3, False)]


def test_a_wrong_key_is_refused_in_every_dialect(fake: FakeProvider) -> None:
    for sdk, things in SHAPES.items():
        (told,) = run_python(sdk, {**job(fake, things["text"][0]), "key": "sk-wrong"})
        assert told["status"] in (401, 403), (sdk, told)
    assert fake.bills == []
