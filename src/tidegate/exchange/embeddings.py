"""What any client asks an embedding model and what any such model answers. No vendor's word in a name (LLM 6).

Vectors travel as bytes: as the JSON array or the base64 text they came in, so that a call between two dialects with the
same format copies and never counts.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.exchange.chat import Extra, Raw, Usage

Purpose = Literal["", "query", "document", "similarity", "classification", "clustering", "code"]
"""What the vectors are for; "" when the client did not say."""

VectorFormat = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]
"""``base64`` is little-endian float32 (LLM 2); the integer forms are vendors' own quantisations."""


class EmbeddingInput(msgspec.Struct, frozen=True):
    """Exactly one of ``text``, ``tokens`` (ids as a JSON array) and ``image`` (a URL, ``data:`` too) is meant, told by
    ``kind``."""

    kind: Literal["text", "tokens", "image"] = "text"
    text: str = ""
    tokens: Raw = b""
    image: str = ""
    title: str = ""


class EmbeddingsRequest(msgspec.Struct, frozen=True):
    """``dimensions`` 0 for the model's own. ``single``: the client wrote one input, not a list of one. ``options`` as
    in ``ChatRequest``. ``truncate``: cut what is too long instead of refusing; None when not said."""

    model: str
    inputs: tuple[EmbeddingInput, ...] = ()
    dimensions: int = 0
    purpose: Purpose = ""
    format: VectorFormat = "float"
    truncate: bool | None = None
    user: str = ""
    single: bool = False
    options: dict[str, Raw] = {}
    extra: Extra | None = None


class Vector(msgspec.Struct, frozen=True):
    """``value``: a JSON array of numbers, or with format ``base64`` the base64 text without quotes."""

    index: int
    value: Raw
    format: VectorFormat = "float"
    extra: Extra | None = None


class EmbeddingsAnswer(msgspec.Struct, frozen=True):
    """Vectors in the order of the inputs."""

    model: str = ""
    id: str = ""
    vectors: tuple[Vector, ...] = ()
    usage: Usage | None = None
    extra: Extra | None = None
