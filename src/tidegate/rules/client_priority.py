"""What a client says about its own priority, in the words of RFC 9218 (S22.2)."""

from __future__ import annotations

import re
from typing import Final

_URGENCY: Final = re.compile(r"(?:^|,)[ \t]*u=([0-7])[ \t]*(?=[;,]|\Z)")
_LONGEST: Final = 256
"""Real values have a dozen bytes; more is not read."""

LOWEST: Final = 3


def lowered(level: int, priority: str) -> int:
    """*level* (0 critical ... 3 low) after the ``Priority`` field value *priority*. A client can only lower itself:
    urgency 4-5 by one, 6-7 to the lowest. What is malformed says nothing."""
    if len(priority) > _LONGEST:
        return level
    urgency = 3
    # In a structured dictionary the last of several members of one name counts.
    for match in _URGENCY.finditer(priority):
        urgency = int(match.group(1))
    if urgency <= 3:
        return level
    return LOWEST if urgency >= 6 else min(level + 1, LOWEST)
