"""How turns are reserved: order, conflicts, resends, retries (CRP 5.2, 5.5, 5.6; #7, #21, #25, #26, #28, #29, #32, #34,
#35; I3, I9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from context_house import CHAT, RESPONSES, SlowStore, answers, asks, chat, heard, one_model, play, texts, turn
from conversation import House, Side, settle
from model_house import ask, completion, whole

from tidegate.engine.contexts.repository import Repository
from tidegate.exchange.context import Entry, Level
from tidegate.exchange.context_ids import version_id
from tidegate.exchange.context_log import Addition, Asker
from tidegate.exchange.context_policy import ContextLimits
from tidegate.ports.contexts import RouteContexts
from tidegate.rules.context_delta import Stamp, apply
from tidegate.rules.item_messages import estimate
from tidegate.wire.context_entry import write_entry
from tidegate.wire.context_json import read_ops

ULID = "01J9ZK3V7Q2M8N4R6T0W5X1Y3B"


async def begun(house: House, client: Side, **more: Any) -> Any:
    """A conversation of one turn; its ``context`` object."""
    _, _, body, _ = await turn(house, client, chat("one", store=True, **more), "first")
    return body["context"]


# -- nothing before it is reserved -------------------------------------------------------------------------------------


def test_no_byte_leaves_for_a_provider_before_the_input_is_durable_21_I3() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        gate = store.hold("begin")
        client.says(ask(chat("one", store=True)))
        await settle()
        assert (store.calls, house.upstreams) == (["begin"], [])
        gate.set()
        await settle()
        assert b'"one"' in house.upstreams[0].hears()
        assert (await answers(house, client, "first"))[0] == 200

    play(scene, one_model(), store=store)


def test_a_store_that_is_out_is_503_and_no_provider_is_asked_I9() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        store.failing = {"begin"}
        status, fields, body, asked = await turn(house, house.client(), chat("one", store=True), "")
        assert (status, body["error"]["code"], asked) == (503, "store_unavailable", None)
        assert (fields["retry-after"], fields["x-should-retry"]) == ("1", "true")

    play(scene, one_model(), store=store)


def test_where_the_route_degrades_the_answer_says_so_I9() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        context = await begun(house, client)
        store.failing = {"begin", "load"}
        status, fields, body, asked = await turn(house, client, chat("two", context_id=context["id"]), "second")
        assert (status, texts(asked)) == (200, ["two"])
        assert (fields["context-degraded"], body["context"]["version"]) == ("?1", None)
        assert "context-version" not in fields

    play(scene, one_model(), store=store, outage="degrade")


@pytest.mark.parametrize("named", [{"store": True}, {"context_id": "ctx_" + ULID}, {"session_id": "s"}])
def test_a_store_that_was_never_opened_degrades_as_one_that_is_out_I9(named: dict[str, Any]) -> None:
    async def scene(house: House) -> None:
        house.runtime.contexts = None
        status, fields, body, asked = await turn(house, house.client(), chat("one", **named), "first")
        assert (status, texts(asked)) == (200, ["one"])
        assert (fields["context-degraded"], body["context"]["version"]) == ("?1", None)
        assert "context-version" not in fields and "context-id" not in fields

    play(scene, one_model(), outage="degrade")


def test_a_store_that_was_never_opened_is_503_for_who_needs_it_I9() -> None:
    async def scene(house: House) -> None:
        house.runtime.contexts = None
        client = house.client()
        status, _, body, asked = await turn(house, client, chat("one", store=True), "")
        assert (status, body["error"]["code"], asked) == (503, "store_unavailable", None)
        assert (await turn(house, client, chat("one"), "first"))[0] == 200  # hints ask no store

    play(scene, one_model())


def test_a_store_that_never_answers_is_503_after_its_patience_58() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        store.hold("begin")
        client.says(ask(chat("one", store=True)))
        await settle()
        for _ in range(12):
            house.pass_time(1.0)
            await settle()
        status, _, body = heard(client)
        assert (status, body["error"]["code"], house.upstreams) == (503, "store_unavailable", [])

    play(scene, one_model(), store=store)


# -- classes -----------------------------------------------------------------------------------------------------------


def private(privacy: str, **more: Any) -> dict[str, Any]:
    item = {"type": "message", "role": "user", "content": "mine", "privacy": privacy}
    return chat("one", delta_updates=[{"op": "append", "items": [item]}], **more)


@pytest.mark.parametrize("kept", ["durable", "none"])
def test_sensitive_contents_go_to_tagged_routes_only_CRP_10(kept: str) -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        status, fields, body, asked = await turn(
            house, house.client(), private("sensitive", context={"store": kept}), ""
        )
        assert (status, body["error"]["code"], asked) == (422, "policy_forbidden", None)
        assert fields["x-should-retry"] == "false"
        assert "begin" not in store.calls

    play(scene, one_model(), store=store)


@pytest.mark.parametrize("privacy", ["personal", "secret"])
def test_other_classes_go_to_any_route_CRP_10(privacy: str) -> None:
    async def scene(house: House) -> None:
        body = private(privacy, store=True)
        assert (await turn(house, house.client(), body, "first"))[0] == 200

    play(scene, one_model())


def test_a_tagged_route_serves_sensitive_contents_CRP_10() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        status, _, body, asked = await turn(house, client, private("sensitive", store=True), "first")
        assert (status, texts(asked)) == (200, ["mine", "one"])
        status, _, _, asked = await turn(house, client, chat("two", context_id=body["context"]["id"]), "second")
        assert (status, texts(asked)) == (200, ["mine", "one", "first", "two"])

    play(scene, one_model(), route_contexts=RouteContexts(sensitive=True))


def test_what_another_worker_made_sensitive_meanwhile_is_seen_before_a_provider_hears_CRP_10() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context = await begun(house, client)
        here = house.runtime.contexts
        house.runtime.contexts = Repository(house.runtime, here.plan)  # another worker, another copy
        tagged = [{"op": "append", "items": [{"type": "document", "content": "theirs", "privacy": "sensitive"}]}]
        await somebody_adds(house, context["id"], tagged)
        house.runtime.contexts = here
        status, _, body, asked = await turn(house, client, chat("two", context_id=context["id"]), "")
        assert (status, body["error"]["code"], asked) == (422, "policy_forbidden", None)
        await settle()
        held = await here.load(Asker("default", all=True), context["id"], fresh=True)
        assert [each.status for each in held.history.versions.values()] == ["completed", "completed", "failed"]

    play(scene, one_model())


async def somebody_adds(house: House, id: str, ops: list[Any]) -> None:
    """A delta of somebody else, without a model."""
    repository = house.runtime.contexts
    asker = Asker("default", all=True)
    held = await repository.load(asker, id)
    version, head = version_id(repository.mint()), held.head("main")
    stamp = Stamp(now=repository.now(), version=version, mint=repository.mint, tokens=estimate,
                  limits=repository.limits)  # fmt: skip
    changes = apply(held.view(head), read_ops(ops, repository.limits), stamp).changes
    entry = Entry(kind="delta", version=version, ts=repository.now(), changes=changes)
    draft, entry = write_entry(entry, repository.seal(held.meta))
    record = Addition(kind="delta", version=version, entry=draft, privacy="sensitive",
                      digest=held.history.digest_with(version, draft.body, (head,)))  # fmt: skip
    assert (await repository.append(asker, id, record, entry))[0].outcome == "ok"


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "path", "status", "code"),
    [
        (chat("x", context_id="ctx_" + ULID), CHAT, 404, "context_not_found"),
        (chat("x", context={"parent": "cv_" + ULID}), CHAT, 404, "version_not_found"),
        ({"model": "fast", "input": "x", "previous_response_id": "resp_" + ULID}, RESPONSES, 400,
         "previous_response_not_found"),
        (chat("x", context_id="ctx_" + ULID, session_id="s"), CHAT, 400, "context_ambiguous"),
        (chat("x", context_id="ctx_" + ULID, context={"level": "implicit"}), CHAT, 400, "level_mismatch"),
        ({"model": "fast", "messages": [], "store": True}, CHAT, 400, "messages"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_contradicts_itself_is_refused_7_36(
    body: dict[str, Any], path: str, status: int, code: str
) -> None:  # fmt: skip
    async def scene(house: House) -> None:
        got, fields, said, asked = await turn(house, house.client(), body, "", path)
        assert (got, said["error"]["code"], asked) == (status, code, None)
        assert fields["x-should-retry"] == "false"

    play(scene, one_model())


def test_a_foreign_context_is_as_unknown_as_one_that_never_was_5() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        _, _, body, _ = await turn(house, client, chat("one", store=True), "first", x_who="ann")
        context = body["context"]
        for named in ({"context_id": context["id"]}, {"context": {"parent": context["version"]}}):
            foreign = await turn(house, client, chat("x", **named), "", x_who="bob")
            unknown = await turn(house, client, json.loads(json.dumps(chat("x", **named)).replace(
                context["id"][4:], ULID).replace(context["version"][3:], ULID)), "", x_who="bob")  # fmt: skip
            assert foreign[0] == unknown[0] == 404
            assert foreign[2] == unknown[2]
        assert (await turn(house, client, chat("two", context_id=context["id"]), "second", x_who="ann"))[0] == 200

    play(scene, one_model())


def test_a_session_name_makes_its_context_on_first_use_and_is_the_subjects_own_6() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        ids = []
        for who, said in (("ann", ["one"]), ("ann", ["one", "first", "one"]), ("bob", ["one"])):
            _, _, body, asked = await turn(house, client, chat("one", session_id="desk"), "first", x_who=who)
            assert texts(asked) == said
            ids.append(body["context"]["id"])
        assert ids[0] == ids[1] != ids[2]

    play(scene, one_model())


def test_a_level_that_is_not_served_is_refused_with_those_that_are_36() -> None:
    levels: tuple[Level, ...] = ("implicit", "id")

    async def scene(house: House) -> None:
        status, _, body, _ = await turn(house, house.client(), chat("x", delta_updates=[]), "")
        assert (status, body["error"]["code"], body["error"]["levels"]) == (
            400, "unsupported_level", ["implicit", "id"],
        )  # fmt: skip

    play(scene, one_model(), route_contexts=RouteContexts(levels=levels))


def test_without_any_word_of_a_context_a_call_passes_as_it_is_and_asks_no_store() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        status, fields, body, asked = await turn(house, house.client(), chat("one"), "first")
        assert (status, store.calls, texts(asked)) == (200, [], ["one"])
        assert "context" not in body and not [name for name in fields if name.startswith("context-")]

    play(scene, one_model(), store=store)


# -- conflicts ---------------------------------------------------------------------------------------------------------


def test_a_stale_parent_on_a_ref_is_409_with_what_is_missing_and_no_provider_hears_25() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        first = await begun(house, client)
        _, _, body, _ = await turn(house, client, chat("two", context_id=first["id"]), "second")
        head = body["context"]["version"]
        status, fields, body, asked = await turn(
            house, client, chat("late", context_id=first["id"], parent=first["version"]), ""
        )
        assert (status, fields["x-should-retry"], asked) == (409, "false", None)
        error = body["error"]
        assert (error["code"], error["param"]) == ("context_conflict", "context.parent")
        assert (error["context"]["id"], error["context"]["head"]) == (first["id"], head)
        (missing,) = error["context"]["missing"]
        assert missing["version"] == head
        assert [item["content"] for op in missing["ops"] for item in op["items"]] == ["two", "second"]
        # one more round trip suffices
        again = chat("late", context_id=first["id"], parent=head)
        assert texts((await turn(house, client, again, "third"))[3]) == ["one", "first", "two", "second", "late"]

    play(scene, one_model())


def test_an_if_match_that_does_not_hold_is_412() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        _, fields, body, _ = await turn(house, client, chat("one", store=True), "first")
        tag, context = fields["etag"], body["context"]["id"]
        assert tag == f'"{body["context"]["version"]}.0"'
        assert (await turn(house, client, chat("two", context_id=context), "second", if_match=tag))[0] == 200
        status, _, body, asked = await turn(house, client, chat("late", context_id=context), "", if_match=tag)
        assert (status, body["error"]["code"], asked) == (412, "precondition_failed", None)

    play(scene, one_model())


def test_an_older_version_forks_and_main_is_unmoved_26() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        first = await begun(house, client)
        _, _, body, _ = await turn(house, client, chat("two", context_id=first["id"]), "second")
        head = body["context"]["version"]
        other = chat("instead", context={"parent": first["version"]})
        _, _, body, asked = await turn(house, client, other, "beside")
        assert texts(asked) == ["one", "first", "instead"]
        assert body["context"]["branch"].startswith("~") and body["context"]["parent"] == first["version"]
        _, _, body, asked = await turn(house, client, chat("three", context_id=first["id"]), "third")
        assert (body["context"]["parent"], body["context"]["branch"]) == (head, "main")
        assert texts(asked) == ["one", "first", "two", "second", "three"]

    play(scene, one_model())


def test_a_stale_parent_may_wish_to_fork() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        first = await begun(house, client)
        await turn(house, client, chat("two", context_id=first["id"]), "second")
        wish = chat("late", context_id=first["id"], context={"parent": first["version"], "on_conflict": "fork"})
        status, _, body, asked = await turn(house, client, wish, "beside")
        assert (status, texts(asked)) == (200, ["one", "first", "late"])
        assert body["context"]["branch"].startswith("~")

    play(scene, one_model())


# -- another turn in flight --------------------------------------------------------------------------------------------


async def in_flight(house: House, client: Side) -> tuple[Any, Side]:
    """A conversation whose second turn waits for its provider."""
    context = await begun(house, client)
    other = house.client()
    assert texts(await asks(house, other, chat("two", context_id=context["id"]))) == ["one", "first", "two"]
    return context, other


def test_a_turn_in_flight_is_waited_for_28() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context, other = await in_flight(house, client)
        client.says(ask(chat("three", context_id=context["id"])))
        await settle()
        asked = len(house.upstreams)
        assert (await answers(house, other, "second"))[0] == 200
        await settle()
        side = house.upstreams[-1]
        sent = json.loads(side.hears().rpartition(b"\r\n\r\n")[2])
        assert texts(sent) == ["one", "first", "two", "second", "three"]
        side.says(whole(200, completion("third")))
        await settle()
        assert heard(client)[0] == 200 and asked <= len(house.upstreams)

    play(scene, one_model())


def test_after_its_time_in_line_it_is_409_and_names_the_turn_28() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context, other = await in_flight(house, client)
        status, fields, body, _ = await turn(house, client, chat("three", context_id=context["id"]), "")
        assert (status, body["error"]["code"]) == (409, "turn_in_progress")
        assert fields["x-should-retry"] == "true" and int(fields["retry-after"]) >= 1
        _, _, done = await answers(house, other, "second")
        assert body["error"]["context"]["turn"] == done["context"]["version"]

    play(scene, one_model(), limits=ContextLimits(queue=0.0))


def test_reject_does_not_wait_28() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context, other = await in_flight(house, client)
        wish = chat("three", context_id=context["id"], context={"on_busy": "reject"})
        status, _, body, asked = await turn(house, client, wish, "")
        assert (status, body["error"]["code"], asked) == (409, "turn_in_progress", None)
        assert (await answers(house, other, "second"))[0] == 200

    play(scene, one_model())


def test_on_a_conversation_of_responses_it_is_that_dialects_own_word_28() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context, other = await in_flight(house, client)
        wish = {"model": "fast", "input": "x", "conversation": "conv_" + context["id"][4:],
                "context": {"on_busy": "reject"}}  # fmt: skip
        status, fields, body, _ = await turn(house, client, wish, "", RESPONSES)
        assert (status, body["error"]["code"]) == (400, "conversation_locked")
        assert fields["x-should-retry"] == "true" and "retry-after" in fields
        await answers(house, other, "second")

    play(scene, one_model())


def test_fork_goes_beside_the_turn_in_flight_28() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context, other = await in_flight(house, client)
        wish = chat("three", context_id=context["id"], context={"on_busy": "fork"})
        status, _, body, asked = await turn(house, client, wish, "beside")
        assert (status, texts(asked)) == (200, ["one", "first", "three"])
        assert body["context"]["branch"].startswith("~")
        assert (await answers(house, other, "second", 0))[0] == 200

    play(scene, one_model())


def test_supersede_pushes_it_aside_and_it_cannot_commit_28_29() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context, other = await in_flight(house, client)
        wish = chat("three", context_id=context["id"], context={"on_busy": "supersede"})
        status, _, body, asked = await turn(house, client, wish, "third")
        assert (status, texts(asked)) == (200, ["one", "first", "two", "three"])
        status, fields, late = await answers(house, other, "second", 0)
        assert (status, late["error"]["code"], fields["x-should-retry"]) == (503, "commit_failed", "false")
        _, _, after, asked = await turn(house, client, chat("four", context_id=context["id"]), "fourth")
        assert texts(asked) == ["one", "first", "two", "three", "third", "four"]
        assert after["context"]["parent"] == body["context"]["version"]

    play(scene, one_model())


# -- the same turn again -----------------------------------------------------------------------------------------------


def test_the_same_key_and_body_is_answered_from_the_log_32() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        body = chat("one", store=True)
        _, fields, first, _ = await turn(house, client, body, "first", idempotency_key="k1")
        assert "context-replayed" not in fields
        status, fields, again, asked = await turn(house, client, body, "", idempotency_key="k1")
        assert (status, asked, fields["context-replayed"]) == (200, None, "?1")
        assert again["choices"] == first["choices"] and again["id"] == first["id"]
        assert again["usage"] == first["usage"]
        assert again["context"] == {**first["context"], "replayed": True}

    play(scene, one_model())


def test_the_same_key_with_another_body_is_422_32() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        await turn(house, client, chat("one", store=True), "first", idempotency_key="k1")
        status, _, body, asked = await turn(house, client, chat("two", store=True), "", idempotency_key="k1")
        assert (status, body["error"]["code"], asked) == (422, "idempotency_mismatch", None)

    play(scene, one_model())


def test_a_retry_of_an_sdk_is_the_same_turn_without_a_key_32_33() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context = await begun(house, client)
        body = chat("two", context_id=context["id"])
        _, _, second, _ = await turn(house, client, body, "second")
        _, fields, again, asked = await turn(house, client, body, "", x_stainless_retry_count="1")
        assert (asked, fields["context-replayed"], again["id"]) == (None, "?1", second["id"])
        # without the mark it is said once more
        _, _, _, asked = await turn(house, client, body, "third", x_stainless_retry_count="0")
        assert texts(asked) == ["one", "first", "two", "second", "two"]

    play(scene, one_model())


def test_a_retry_while_the_turn_is_in_flight_waits_for_its_answer_32() -> None:
    async def scene(house: House) -> None:
        client, other = house.client(), house.client()
        client.says(ask(chat("one", store=True), idempotency_key="k1"))
        await settle()
        other.says(ask(chat("one", store=True), idempotency_key="k1"))
        await settle()
        assert len(house.upstreams) == 1
        _, _, first = await answers(house, client, "first")
        house.pass_time(0.2)
        await settle()
        status, fields, again = heard(other)
        assert (status, fields["context-replayed"], again["id"]) == (200, "?1", first["id"])

    play(scene, one_model())


def test_a_streamed_turn_is_replayed_as_a_stream_32() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        body = chat("one", store=True)
        client.says(ask({**body, "stream": True}, idempotency_key="k2"))
        await settle()
        house.upstreams[-1].hears()
        house.upstreams[-1].says(whole(200, completion("other")))
        await settle()
        one = client.hears()
        client.says(ask({**body, "stream": True}, idempotency_key="k2"))
        await settle()
        two = client.hears()
        assert b"context-replayed: ?1" in two and b"context-replayed" not in one
        assert b'"content":"other"' in two and two.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")

    play(scene, one_model())


def test_a_failed_turn_leaves_no_trace_and_its_resend_works_34() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context = await begun(house, client)
        body = chat("two", context_id=context["id"])
        await asks(house, client, body)
        house.upstreams[-1].says(whole(400, {"error": {"message": "no", "type": "invalid_request_error"}}))
        await settle()
        assert heard(client)[0] == 400
        _, _, again, asked = await turn(house, client, body, "second")
        assert texts(asked) == ["one", "first", "two"]
        assert again["context"]["parent"] == context["version"]

    play(scene, one_model())


# -- history sent again ------------------------------------------------------------------------------------------------


def full(*said: str, **more: Any) -> dict[str, Any]:
    """The whole history, as a client without contexts sends it."""
    roles = ["user", "assistant"]
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]
    return {"model": "fast", "messages": messages, **more}


def test_a_full_history_with_only_a_field_is_not_doubled_35() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context = await begun(house, client)
        sent: tuple[str, ...] = ("one", "first", "two")
        _, _, _, asked = await turn(house, client, full(*sent), "second", context_id=context["id"])
        assert texts(asked) == list(sent)
        sent += ("second", "three")
        _, _, _, asked = await turn(house, client, full(*sent), "third", context_id=context["id"])
        assert texts(asked) == list(sent)

    play(scene, one_model())


def test_a_history_that_goes_another_way_is_409_35() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context = await begun(house, client)
        await turn(house, client, chat("two", context_id=context["id"]), "second")
        body = full("one", "first", "other", "x", "three", context_id=context["id"])
        status, fields, said, asked = await turn(house, client, body, "")
        assert (status, said["error"]["code"], asked) == (409, "history_diverged", None)
        assert fields["x-should-retry"] == "false"

    play(scene, one_model())


def test_a_resend_may_be_refused_35() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        context = await begun(house, client)
        body = full("one", "first", "two", context_id=context["id"], context={"on_resend": "reject"})
        status, _, said, asked = await turn(house, client, body, "")
        assert (status, said["error"]["code"], asked) == (422, "history_resent", None)

    play(scene, one_model())
