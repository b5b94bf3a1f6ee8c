from __future__ import annotations

from typing import Any

from tidegate.assembly.chains import BODY_LIMIT, Chains, Made, body_limit_of


class Auth:
    stage = "auth"

    def on_request_head(self, x: Any) -> None:
        pass

    def on_response_head(self, x: Any) -> None:
        pass


class Body:
    stepped = True
    body_limit = 7

    async def on_request_head(self, x: Any) -> None:
        pass

    def on_response_head(self, x: Any) -> None:
        pass


def test_requests_meet_filters_in_the_order_written_and_answers_in_reverse() -> None:
    auth, body = Made("auth", b"", Auth()), Made("body", b"", Body())
    chain = Chains([], False).of((auth, body))
    assert [hook.filter for hook in chain["on_request_head"]] == ["auth", "body"]
    assert [hook.task for hook in chain["on_request_head"]] == [True, False]
    assert chain["on_response_head"] == (body.part.on_response_head, auth.part.on_response_head)
    assert (chain["filters"], chain["open"], chain["body_limit"]) == (("auth", "body"), False, 7)


def test_a_route_without_filters_is_open_and_has_the_common_limit() -> None:
    assert Chains([], False).of(()) == {"filters": (), "open": True, "body_limit": BODY_LIMIT}


def test_what_stands_before_every_route_is_called_and_not_counted_among_its_filters() -> None:
    chain = Chains([Made("auth", b"", Auth())], False).of(())
    assert (chain["filters"], chain["open"]) == ((), True)
    assert [hook.filter for hook in chain["on_request_head"]] == ["auth"]


def test_in_a_proof_equal_chains_are_made_once() -> None:
    made = (Made("auth", b"", Auth()),)
    kept, fresh = Chains([], True), Chains([], False)
    assert kept.of(made) is kept.of(made)
    assert fresh.of(made) is not fresh.of(made)


def test_the_last_filter_that_bounds_bodies_counts() -> None:
    small = Body()
    small.body_limit = 3
    assert body_limit_of([Made("a", b"", Body()), Made("b", b"", small)]) == 3
    assert body_limit_of([Made("a", b"", Auth())]) is None
