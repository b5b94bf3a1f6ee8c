"""What a call says about its conversation: addresses, levels, contradictions (CRP 1.3, 3.1, 3.2, 6.2; #7, #36)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.context import Append, Budget, Level, TemplateWish, Wishes
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.rules.context_wishes import read_wishes, strip

ULID = "01J9ZK3V7Q2M8N4R6T0W5X1Y3B"
OTHER = "01J9ZK4A0C3E5G7H9J1K3M5N7P"
CTX, CV = "ctx_" + ULID, "cv_" + OTHER
ALL: tuple[Level, ...] = ("implicit", "id", "delta", "merge")
APPEND = [{"op": "append", "items": [{"type": "message", "role": "user", "content": "hi"}]}]


def wishes(
    members: dict[str, Any], dialect: str = "openai_chat", levels: tuple[Level, ...] = ALL, **fields: str
) -> Wishes:  # fmt: skip
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return read_wishes(members, named, dialect, levels, ContextLimits())


def code_of(members: dict[str, Any], dialect: str = "openai_chat", **fields: str) -> str:
    with pytest.raises(Fault) as raised:
        wishes(members, dialect, **fields)
    return raised.value.code


@pytest.mark.parametrize(
    "members",
    [
        {"context_id": CTX}, {"session_id": CTX}, {"conversation": "conv_" + ULID},
        {"conversation": {"id": "conv_" + ULID}}, {"context": {"id": CTX}},
        {"context_id": CTX, "session_id": "conv_" + ULID},
    ],
)  # fmt: skip
def test_a_context_is_a_ref_however_it_is_spelled(members: dict[str, Any]) -> None:
    found = wishes(members)
    assert (found.context, found.session, found.addressed, found.level) == (CTX, "", "ref", "id")


def test_a_field_names_a_context_for_clients_that_cannot_add_members() -> None:
    found = wishes({}, context_id=CTX, context_parent=CV, context_branch="draft", context_policy="verbatim")
    assert (found.context, found.parent, found.branch, found.policy) == (CTX, CV, "draft", b'"verbatim"')
    assert (found.addressed, found.inherit) == ("ref", False)


def test_a_session_name_is_a_ref_without_an_id() -> None:
    found = wishes({"session_id": "user-42:support"})
    assert (found.context, found.session, found.addressed, found.inherit) == ("", "user-42:support", "ref", True)


@pytest.mark.parametrize("prefix", ["resp_", "chatcmpl-", "msg_", "v1_", "cv_"])
def test_the_answer_of_any_dialect_names_the_version_of_its_turn_1(prefix: str) -> None:
    found = wishes({"previous_response_id": prefix + OTHER}, "openai_responses")
    assert (found.version, found.addressed, found.level, found.inherit) == (CV, "version", "id", False)
    assert found.previous_spelling == "previous_response_id"


def test_a_parent_alone_is_a_version_and_beside_a_context_what_its_head_is_believed_to_be() -> None:
    alone = wishes({"context": {"parent": "msg_" + OTHER}}, "anthropic_messages")
    assert (alone.version, alone.parent, alone.addressed) == (CV, "", "version")
    both = wishes({"context_id": CTX, "parent": CV})
    assert (both.version, both.parent, both.context, both.addressed) == ("", CV, CTX, "ref")


@pytest.mark.parametrize(
    ("members", "fields"),
    [
        ({"context_id": CTX, "session_id": "ctx_" + OTHER}, {}),
        ({"context_id": CTX, "session_id": "somebody"}, {}),
        ({"context_id": CTX}, {"context_id": "ctx_" + OTHER}),
        ({"conversation": "conv_" + OTHER, "context_id": CTX}, {}),
        ({"parent": CV, "context": {"parent": "cv_" + ULID}}, {}),
        ({"parent": CV, "context_id": CTX}, {"context_parent": "cv_" + ULID}),
        ({"previous_response_id": "resp_" + ULID, "parent": CV}, {}),
        ({"previous_response_id": "resp_" + ULID, "previous_message_id": "msg_" + OTHER}, {}),
        ({"context_id": CTX, "context": {"branch": "main"}}, {"context_branch": "draft"}),
        ({"context_id": CTX, "context": {"policy": "verbatim"}}, {"context_policy": "agent-default"}),
        ({"context_id": CTX, "context": {"level": "id"}}, {"context_level": "delta"}),
    ],
)
def test_addresses_that_disagree_are_ambiguous_7(members: dict[str, Any], fields: dict[str, str]) -> None:
    assert code_of(members, **fields) == "context_ambiguous"


@pytest.mark.parametrize(
    ("members", "dialect", "level"),
    [
        ({}, "openai_chat", "implicit"),
        ({}, "anthropic_messages", "implicit"),
        ({"store": True}, "openai_chat", "id"),
        ({}, "openai_responses", "id"),
        ({"store": True}, "openai_responses", "id"),
        ({"store": False}, "openai_responses", "implicit"),
        ({"context_id": CTX}, "openai_chat", "id"),
        ({"previous_response_id": "resp_" + ULID, "store": False}, "openai_responses", "id"),
        ({"delta_updates": APPEND}, "openai_chat", "delta"),
        ({"context_id": CTX, "delta_updates": []}, "openai_chat", "delta"),
        ({"context_id": CTX, "context": {"level": "merge"}}, "openai_chat", "merge"),
        ({"context": {"template": {"ref": "t@1"}}}, "openai_chat", "id"),
        ({"context": {"template": {"ref": "t@1"}, "level": "delta"}}, "openai_chat", "delta"),
    ],
)
def test_the_level_is_inferred_from_the_body_36(members: dict[str, Any], dialect: str, level: str) -> None:
    assert wishes(members, dialect).level == level


@pytest.mark.parametrize(
    "members",
    [
        {"context_id": CTX, "context": {"level": "implicit"}},
        {"delta_updates": APPEND, "context": {"level": "id"}},
        {"context_id": CTX, "context": {"level": "delta"}},
        {"context": {"level": "merge"}},
    ],
)
def test_a_level_that_contradicts_the_body_is_refused_36(members: dict[str, Any]) -> None:
    assert code_of(members) == "level_mismatch"


def test_a_level_that_the_route_does_not_serve_is_refused_with_those_it_does_36() -> None:
    with pytest.raises(Fault) as raised:
        wishes({"context_id": CTX, "delta_updates": APPEND}, levels=("implicit", "id"))
    assert (raised.value.code, raised.value.extra) == ("unsupported_level", {"levels": ["implicit", "id"]})


def test_responses_stay_implicit_where_nothing_is_kept() -> None:
    assert wishes({}, "openai_responses", levels=("implicit",)).level == "implicit"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"context": []}, "invalid_body"),
        ({"context": {"on_busy": "hurry"}}, "invalid_body"),
        ({"context": {"store": 1}}, "invalid_body"),
        ({"context": {"branch": "No Spaces"}}, "invalid_body"),
        ({"context": {"budget": {"max_input": -1}}}, "invalid_body"),
        ({"context": {"budget": {"max_input": True}}}, "invalid_body"),
        ({"context": {"inherit": 1}}, "invalid_body"),
        ({"context": {"policy": 7}}, "invalid_body"),
        ({"context": {"template": "t"}}, "invalid_body"),
        ({"context_id": "ctx_1"}, "context_not_found"),
        ({"context_id": 5}, "context_not_found"),
        ({"session_id": "two words"}, "context_not_found"),
        ({"previous_message_id": "msg_1"}, "version_not_found"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found"),
        ({"previous_response_id": CTX}, "previous_response_not_found"),
    ],
)
def test_what_is_no_wish_is_refused(members: dict[str, Any], code: str) -> None:
    assert code_of(members) == code


def test_another_protocol_version_is_not_spoken() -> None:
    assert code_of({}, context_protocol="2") == "unsupported_protocol"
    assert wishes({"context_id": CTX}, context_protocol="1").context == CTX


def test_a_field_longer_than_the_limit_is_refused() -> None:
    assert wishes({}, context_policy="p" * 256).policy == b'"' + b"p" * 256 + b'"'
    assert code_of({}, context_policy="p" * 257) == "invalid_body"


def test_all_members_of_a_delta_call_are_read() -> None:
    found = wishes({
        "context_id": CTX, "delta_updates": APPEND,
        "context": {"parent": CV, "on_conflict": "rebase", "on_busy": "fork", "on_disconnect": "finish",
                    "on_resend": "reject", "policy": {"budget": {"trigger": 0.5}}, "return": "full",
                    "template": {"ref": "t@3", "vars": {"tier": "gold"}}, "store": "session",
                    "budget": {"max_input": 100, "reserve_output": 5}, "inherit": False},
    })  # fmt: skip
    assert (found.on_conflict, found.on_busy, found.on_disconnect) == ("rebase", "fork", "finish")
    assert (found.on_resend, found.returned, found.store, found.inherit) == ("reject", "full", "session", False)
    assert (found.budget, found.template) == (Budget(100, 5), TemplateWish("t@3", b'{"tier":"gold"}'))
    assert found.policy == b'{"budget":{"trigger":0.5}}'
    (op,) = found.ops
    assert isinstance(op, Append) and [item.role for item in op.items] == ["user"]


def test_what_names_a_conversation_is_taken_out_of_the_body_and_nothing_else() -> None:
    body = json.dumps({"model": "m", "context_id": CTX, "context": {}, "delta_updates": [], "parent": CV, "store": True,
                       "previous_response_id": CV, "temperature": 1.1, "messages": [1]}).encode()  # fmt: skip
    assert strip(body, "openai_chat", "x") == b'{"model":"m","temperature":1.1,"messages":[1]}'


def test_messages_and_model_may_be_left_out() -> None:
    assert strip(b'{"context_id":"c"}', "openai_responses", "m") == b'{"input":[],"model":"m"}'
    assert strip(b'{"temperature":1.10}', "openai_chat", "") == b'{"temperature":1.10,"messages":[]}'
