from __future__ import annotations

from tidegate.exchange.chat import Usage
from tidegate.rules.usage_merge import largest


def test_the_first_word_is_taken_as_it_is() -> None:
    told = Usage(input=3)
    assert largest(None, told) is told


def test_a_zero_later_never_erases() -> None:
    first = Usage(input=100, cache_read=40, output=1, tier="priority", cache_write_by_ttl=((300, 5),))
    later = Usage(output=20, cache_write_by_ttl=((300, 0), (3600, 7)), tool_calls=(("web_search", 2),))
    assert largest(first, later) == Usage(
        input=100, cache_read=40, output=20, tier="priority", cache_write_by_ttl=((300, 5), (3600, 7)),
        tool_calls=(("web_search", 2),),
    )  # fmt: skip


def test_the_same_again_changes_nothing() -> None:
    usage = Usage(input=1, output=2)
    assert largest(usage, Usage(input=1, output=2)) == usage
