"""Which vocabulary a model's tokenizer is known to have (LLM 11), by the model's name. Others are counted by the usual
one, and corrected by what is billed."""

from __future__ import annotations

import re
from typing import Final

_O200K: Final = re.compile(r"(?:chatgpt-4o|gpt-4o|gpt-4\.[15]|gpt-5|o[134])(?![a-z0-9])").match
_CL100K: Final = re.compile(r"(?:gpt-4|gpt-3\.5-turbo|gpt-35-turbo|text-embedding-(?:3|ada))(?![a-z0-9.])").match


def tokenizer_of(model: str) -> str:
    """``o200k``, ``cl100k``, or "" for a model nobody knows. *model*: as its provider calls it, with or without its
    maker before a slash."""
    name = model.lower().rpartition("/")[2].removeprefix("ft:")
    if _O200K(name) is not None:
        return "o200k"
    return "cl100k" if _CL100K(name) is not None else ""
