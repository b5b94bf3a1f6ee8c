from __future__ import annotations

import pytest

from tidegate.exchange.chat import END, PING, ChatDelta, Close, Failed, Open, Piece, Start, Stopped, Text, Usage, Used
from tidegate.rules.chat_order import check_order


def opened(part: int, choice: int = 0) -> Open:
    return Open(choice, part, "text", Text(text=""))


GOOD: list[ChatDelta] = [
    Start(), PING, opened(0), Piece(0, 0, "a"), opened(1), Piece(0, 0, "b"), Close(0, 0), Close(0, 1),
    Used(Usage()), Stopped(0, "stop"), Used(Usage()), END,
]  # fmt: skip


def test_an_answer_in_order_passes() -> None:
    check_order(GOOD)
    check_order([Start(), opened(0), Failed("bad_upstream"), END])
    check_order([Failed("bad_upstream"), END])


@pytest.mark.parametrize(
    ("deltas", "clause"),
    [
        ([opened(0), END], "before Start"),
        ([Start(), Start(), END], "Start comes twice"),
        ([Start(), opened(1), END], "not the next part"),
        ([Start(), Piece(0, 0, "a"), END], "not open"),
        ([Start(), opened(0), Close(0, 0), Close(0, 0), END], "not open"),
        ([Start(), opened(0), Stopped(0, "stop"), END], "stops with open parts"),
        ([Start(), Stopped(0, "stop"), Stopped(0, "stop"), END], "stops twice"),
        ([Start(), Stopped(0, "stop"), opened(0), END], "has stopped"),
        ([Start(), opened(0), END], "are open"),
        ([Start(), Failed("bad_upstream"), Used(Usage()), END], "after Failed"),
        ([Start(), END, END], "after End"),
        ([Start()], "no End"),
    ],
)
def test_each_clause_is_held(deltas: list[ChatDelta], clause: str) -> None:
    with pytest.raises(ValueError, match=clause):
        check_order(deltas)
