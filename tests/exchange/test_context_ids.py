"""Ids of conversations: one ULID in every form, and nothing else understood (CRP 1.2, 1.3, checklist 1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.context_ids import (
    Address,
    anonymous_branch,
    context_id,
    conversation_id,
    is_branch,
    is_item_id,
    is_key,
    is_ulid,
    item_id,
    read_id,
    read_session,
    response_id,
    ulid_of,
    version_id,
)

ULID = "01J9ZK5D2F4G6H8J0K2M4N6P8Q"
ULIDS = st.builds(lambda a, b: a + b, st.sampled_from("01234567"),
                  st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=25, max_size=25))  # fmt: skip


@pytest.mark.parametrize("prefix", ["cv_", "resp_", "chatcmpl-", "msg_", "v1_"])
def test_1_the_answer_of_every_dialect_names_the_version_of_its_turn(prefix: str) -> None:
    assert read_id(prefix + ULID) == Address("version", "cv_" + ULID)


@pytest.mark.parametrize(
    ("dialect", "id"),
    [("openai_chat", "chatcmpl-" + ULID), ("openai_responses", "resp_" + ULID), ("anthropic_messages", "msg_" + ULID),
     ("bedrock_converse", "cv_" + ULID)],
)  # fmt: skip
def test_1_one_ulid_in_every_dialect(dialect: str, id: str) -> None:
    assert response_id(version_id(ULID), dialect) == id


@pytest.mark.parametrize("prefix", ["ctx_", "conv_"])
def test_a_conversation_is_the_context(prefix: str) -> None:
    assert read_id(prefix + ULID) == read_session(prefix + ULID) == Address("context", "ctx_" + ULID)


@pytest.mark.parametrize(
    "text",
    ["", ULID, "cv_", "cv_" + ULID.lower(), "cv_8" + ULID[1:], "cv_" + ULID + "0", "cv_" + ULID[:-1], "CV_" + ULID,
     "cv_" + ULID[:-1] + "I", "cv_" + ULID + "\n", "resp_abc123", "it_" + ULID],
)  # fmt: skip
def test_what_was_not_minted_here_is_no_id(text: str) -> None:
    assert read_id(text) is None


@pytest.mark.parametrize("name", ["user-42:support", "a", "A.b_c@d", "resp_abc", "x" * 128])
def test_6_a_session_may_have_a_name_of_its_own(name: str) -> None:
    assert read_session(name) == Address("name", name)


@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "é", "a\n", "cv_" + ULID, "chatcmpl-" + ULID])
def test_a_session_is_neither_a_version_nor_anything_else(name: str) -> None:
    assert read_session(name) is None


@given(ULIDS)
def test_ids_come_back_as_they_were_made(ulid: str) -> None:
    assert is_ulid(ulid)
    assert read_id(context_id(ulid)) == Address("context", context_id(ulid))
    assert read_id(version_id(ulid)) == Address("version", version_id(ulid))
    assert read_id(conversation_id(context_id(ulid))) == Address("context", context_id(ulid))
    assert ulid_of(version_id(ulid)) == ulid_of(response_id(version_id(ulid), "openai_chat")) == ulid
    assert is_item_id(item_id(ulid)) and is_branch(anonymous_branch(ulid))


@pytest.mark.parametrize(("key", "good"), [("travel.class", True), ("a", True), ("a" * 256, True), ("a" * 257, False),
                                           ("", False), (".a", False), ("a..b", False), ("a b", False)])  # fmt: skip
def test_keys_are_dotted_names_up_to_256_bytes(key: str, good: bool) -> None:
    assert is_key(key) is good


@pytest.mark.parametrize(("name", "good"), [("main", True), ("try/2", True), ("x" * 64, True), ("x" * 65, False),
                                            ("", False), ("Main", False), ("~abc", False), ("-a", False)])  # fmt: skip
def test_branches_of_clients_are_short_and_never_look_anonymous(name: str, good: bool) -> None:
    assert is_branch(name) is good


@pytest.mark.parametrize(
    ("id", "good"), [("a", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("a.b", False)]
)
def test_item_ids_of_clients_are_up_to_64_plain_characters(id: str, good: bool) -> None:
    assert is_item_id(id) is good
