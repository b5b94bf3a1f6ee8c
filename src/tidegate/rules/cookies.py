"""Reading one cookie out of a ``cookie`` field (RFC 6265, section 5.4)."""

from __future__ import annotations


def cookie(field: str | None, name: str) -> str | None:
    """The value of the first cookie called *name* (case-sensitive) in the joined *field*, quotes dropped; None when
    there is none."""
    if not field:
        return None
    for pair in field.split(";"):
        key, equals, value = pair.partition("=")
        if equals and key.strip(" \t") == name:
            value = value.strip(" \t")
            return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return None
