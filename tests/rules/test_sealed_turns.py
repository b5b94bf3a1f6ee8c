"""Seals go back to the calls they stood with, byte for byte (LLM 5.6)."""

from __future__ import annotations

from tidegate.exchange.chat import ChatRequest, Message, Origin, SealedThought, Text, Thought, ToolCall, ToolResult
from tidegate.rules.sealed_turns import ENTRY, CallSeals, is_sealed, lacks_seals, seals_of, with_seals

US = Origin("anthropic")
THOUGHT = Thought(text="so\u0000 \u00e4", signature=b"s\xff1=", origin=US)
SEALED = SealedThought(data=b"\x00blob", origin=US)
CALL = ToolCall(id="c1", name="f", arguments='{"a":1}')
SIGNED = ToolCall(id="c2", name="g", signature=b"sig2", origin=Origin("gemini"))


def turn(*parts: object) -> ChatRequest:
    said = Message("assistant", tuple(parts), raw=b"{}")  # type: ignore[arg-type]
    result = Message("tool", (ToolResult(call_id="c1", parts=(Text(text="42"),)),))
    return ChatRequest("m", (Message("user", (Text(text="hi"),)), said, result))


def back(answer: tuple[object, ...], history: ChatRequest) -> tuple[object, ...]:
    kept = dict(seals_of(answer))  # type: ignore[arg-type]
    return with_seals(history, kept.get).messages[1].parts


def test_a_dropped_thought_goes_back_to_its_place() -> None:
    assert back((THOUGHT, Text(text="look"), CALL), turn(Text(text="look"), CALL)) == (THOUGHT, Text(text="look"), CALL)
    assert back((Text(text="look"), THOUGHT, CALL), turn(Text(text="look"), CALL)) == (Text(text="look"), THOUGHT, CALL)


def test_thoughts_between_and_behind_calls_keep_their_order() -> None:
    second = ToolCall(id="c3", name="h")
    answer = (THOUGHT, SEALED, CALL, SEALED, second, THOUGHT)
    assert back(answer, turn(CALL, second)) == answer


def test_a_calls_own_seal_goes_back_onto_it() -> None:
    bare = ToolCall(id="c2", name="g")
    assert back((CALL, SIGNED), turn(CALL, bare)) == (CALL, SIGNED)


def test_a_thought_kept_in_clear_gives_way_to_the_sealed_one() -> None:
    assert back((THOUGHT, CALL), turn(Thought(text="so"), CALL)) == (THOUGHT, CALL)


def test_what_the_client_kept_itself_stays() -> None:
    own = Thought(text="mine", signature=b"own", origin=US)
    assert back((THOUGHT, CALL), turn(own, CALL)) == (own, CALL)


def test_a_call_of_another_tool_gets_nothing() -> None:
    history = turn(ToolCall(id="c1", name="other"))
    assert with_seals(history, dict(seals_of((THOUGHT, CALL))).get) is history


def test_a_changed_turn_has_no_raw_bytes_and_others_are_untouched() -> None:
    history = turn(CALL)
    made = with_seals(history, dict(seals_of((THOUGHT, CALL))).get)
    assert made.messages[1].raw == b""
    assert made.messages[0] is history.messages[0] and made.messages[2] is history.messages[2]


def test_nothing_sealed_or_nothing_called_leaves_nothing_to_keep() -> None:
    assert seals_of((Thought(text="x"), CALL)) == []
    assert seals_of((THOUGHT, Text(text="x"))) == []


def test_the_size_counts_all_that_is_held() -> None:
    seals = CallSeals("f", ((0, THOUGHT),), (SEALED,), b"abc")
    assert seals.size == ENTRY + 1 + 3 + (ENTRY + 10 + 4) + (ENTRY + 5)


def test_a_loop_without_thoughts_of_the_vendor_lacks_them() -> None:
    assert lacks_seals(turn(CALL), "anthropic")
    assert not lacks_seals(turn(THOUGHT, CALL), "anthropic")
    assert not lacks_seals(turn(SEALED, CALL), "anthropic")
    assert lacks_seals(turn(THOUGHT, CALL), "bedrock")
    assert lacks_seals(turn(SIGNED), "gemini")


def test_outside_of_a_loop_nothing_is_lacking() -> None:
    request = ChatRequest("m", (Message("assistant", (CALL,)), Message("user", (Text(text="hi"),))))
    assert not lacks_seals(request, "anthropic")
    assert not lacks_seals(ChatRequest("m"), "anthropic")


def test_what_only_a_vendor_reads_is_sealed() -> None:
    assert is_sealed(SEALED) and is_sealed(THOUGHT) and is_sealed(SIGNED)
    assert not is_sealed(Thought(text="x")) and not is_sealed(CALL) and not is_sealed(Text(text="x"))
