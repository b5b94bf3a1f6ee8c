"""Is this body JSON? By its content type alone (S3.5, S10.4)."""

from __future__ import annotations

import re
from typing import Final

_JSON: Final = re.compile(
    r"application/(?:[a-z0-9!#$&^_.+-]{1,100}\+)?json"
    r"(?:[ \t]*;[ \t]*(?:charset=(?:\"utf-8\"|utf-8)|(?!charset=)[a-z0-9!#$%&'*+.^_`|~-]+=(?:[^\s;\"]+|\"[^\"]*\")))*"
    r"[ \t]*;?[ \t]*\Z",
    re.IGNORECASE,
)
_LONGEST: Final = 256


def is_json(content_type: str | None) -> bool:
    """True for ``application/json`` and ``application/*+json`` with the charset absent or ``utf-8``."""
    return content_type is not None and len(content_type) <= _LONGEST and _JSON.match(content_type) is not None
