from __future__ import annotations

import pytest

from tidegate.rules.tokenizers import tokenizer_of


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "o200k"),
        ("gpt-4o-mini-2024-07-18", "o200k"),
        ("GPT-4.1-nano", "o200k"),
        ("openai/gpt-5-mini", "o200k"),
        ("gpt-5.1", "o200k"),
        ("o3-mini", "o200k"),
        ("o1", "o200k"),
        ("ft:gpt-4o-mini:acme::1", "o200k"),
        ("chatgpt-4o-latest", "o200k"),
        ("gpt-4", "cl100k"),
        ("gpt-4-turbo-preview", "cl100k"),
        ("gpt-3.5-turbo-0125", "cl100k"),
        ("gpt-35-turbo", "cl100k"),
        ("text-embedding-3-small", "cl100k"),
        ("text-embedding-ada-002", "cl100k"),
    ],
)
def test_what_openai_says_of_its_models_is_known(model: str, name: str) -> None:
    assert tokenizer_of(model) == name


@pytest.mark.parametrize(
    "model",
    ["", "claude-opus-4-1", "gemini-2.5-flash", "llama-3.3-70b", "gpt-oss-120b", "gpt-4.7", "gpt-6", "gpt-4omega",
     "o200", "olmo", "my-gpt-4o", "/"],
)  # fmt: skip
def test_nobody_guesses_for_others(model: str) -> None:
    assert tokenizer_of(model) == ""
