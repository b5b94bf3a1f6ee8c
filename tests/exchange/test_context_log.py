"""Who sees a context: decided from authentication alone (CRP 10, checklist 5)."""

from __future__ import annotations

import pytest

from tidegate.exchange.context_log import Asker

OWNER = Asker("acme", "ann", "sales")
COLLEAGUE = Asker("acme", "bob", "sales")
STRANGER = Asker("acme", "eve", "")
GATEWAY = Asker("acme", all=True)


@pytest.mark.parametrize(
    ("access", "asker", "seen"),
    [
        ("subject", OWNER, True), ("subject", COLLEAGUE, False), ("subject", STRANGER, False),
        ("subject", GATEWAY, True),
        ("group", OWNER, True), ("group", COLLEAGUE, True), ("group", STRANGER, False), ("group", GATEWAY, True),
        ("tenant", OWNER, True), ("tenant", COLLEAGUE, True), ("tenant", STRANGER, True), ("tenant", GATEWAY, True),
        ("unheard of", COLLEAGUE, False),
    ],
)  # fmt: skip
def test_5_a_context_is_seen_as_its_access_says(access: str, asker: Asker, seen: bool) -> None:
    assert asker.sees(access, "ann", "sales") is seen


def test_a_group_that_nobody_named_is_no_group() -> None:
    assert not Asker("acme", "eve", "").sees("group", "ann", "")
