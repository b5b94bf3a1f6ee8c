"""Heads: the field list of an answer, and what a head says of itself."""

from __future__ import annotations

from tidegate.exchange.head import CHUNKED, NO_BODY, UNTIL_CLOSE, Answer, HeadMemo, RequestHead, ResponseHead


def answer_head() -> ResponseHead:
    return ResponseHead(200, "OK", [("set-cookie", "a=1"), ("etag", '"x"'), ("set-cookie", "b=2")])


def test_no_announced_length_can_be_taken_for_one_of_the_signs() -> None:
    """NO_BODY is a length of nothing; the other two lie below every length."""
    assert (NO_BODY, CHUNKED, UNTIL_CLOSE) == (0, -1, -2)


def test_get_gives_the_first_line_of_a_name_or_none() -> None:
    head = answer_head()
    assert (head.get("set-cookie"), head.get("etag"), head.get("vary")) == ("a=1", '"x"', None)


def test_set_puts_one_line_in_the_place_of_all_of_that_name() -> None:
    head = answer_head()
    head.set("set-cookie", "c=3")
    assert head.fields == [("etag", '"x"'), ("set-cookie", "c=3")]
    head.set("vary", "origin")
    assert head.fields[-1] == ("vary", "origin")


def test_remove_drops_every_line_of_that_name_and_no_other() -> None:
    head = answer_head()
    head.remove("set-cookie")
    head.remove("vary")
    assert head.fields == [("etag", '"x"')]


def test_an_edit_leaves_the_list_that_other_heads_share_alone() -> None:
    """A block parsed once is shared (``HeadMemo.fields``); an edited head is known by having another list."""
    shared = [("etag", '"x"'), ("vary", "origin")]
    memo = HeadMemo(shared)
    first, second = ResponseHead(200, "OK", shared, memo=memo), ResponseHead(200, "OK", shared, memo=memo)
    first.remove("etag")
    second.set("vary", "accept")
    assert shared == [("etag", '"x"'), ("vary", "origin")]
    assert first.fields is not memo.fields and second.fields is not memo.fields


def test_a_memo_begins_empty() -> None:
    memo = HeadMemo([])
    assert (memo.key, memo.dropped, memo.text, memo.dated) == (None, None, "", False)


def test_a_head_of_a_request_shows_no_field_value_when_printed() -> None:
    """What is printed may reach a log; credentials are in fields."""
    head = RequestHead("GET", "/a?b", 11, [("authorization", "Basic c2VjcmV0")], {"authorization": "Basic c2VjcmV0"})
    assert repr(head) == "<RequestHead GET '/a?b' 1 fields, body 0>"
    assert (head.body_length, head.keep_alive, head.expect_continue, head.upgrade) == (NO_BODY, True, False, "")


def test_a_head_of_an_answer_shows_no_field_value_when_printed() -> None:
    assert repr(answer_head()) == "<ResponseHead 200 3 fields, body 0>"


def test_answers_made_without_fields_share_no_list() -> None:
    first, second = Answer(204), Answer(204)
    first.fields.append(("vary", "origin"))
    assert (second.fields, second.body, second.close) == ([], b"", False)
    assert repr(Answer(200, body=b"hello")) == "<Answer 200 5 bytes>"
