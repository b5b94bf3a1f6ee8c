"""Embeddings in neutral values: what nobody says is the model's own."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.exchange.embeddings import EmbeddingInput, EmbeddingsRequest, Vector


def test_what_is_not_said_is_the_models_own() -> None:
    request = EmbeddingsRequest("m", (EmbeddingInput(text="a"),))
    assert (request.dimensions, request.purpose, request.format, request.truncate) == (0, "", "float", None)


def test_values_never_change() -> None:
    vector = Vector(0, b"[1]")
    with pytest.raises(AttributeError):
        vector.index = 1  # type: ignore[misc]
    assert msgspec.structs.replace(vector, index=1) == Vector(1, b"[1]")
