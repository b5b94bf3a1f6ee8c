"""Every neutral feature in every dialect, both ways, whole and as a stream (LLM 16): what a dialect writes is the
golden, what it cannot say is named there, and what it reads out of the golden is the neutral again but for the
differences the golden tells. Drafts of missing goldens: ``python tests/dialects/golden_form.py <dialect>``; a
draft is not a golden before somebody has held it against the vendor's documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dialects import golden_form
from dialects.golden_form import GOLDENS, VENDORS, features, known, neutral_of, spelled

CELLS = [(feature, name) for feature in features() for name in VENDORS]
TELLING = ("losses", "answer_losses", "stream_losses")


def golden_of(feature: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDENS / feature / f"{name}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize(("feature", "name"), CELLS)
def test_what_is_written_and_what_is_read_are_the_golden(feature: str, name: str) -> None:
    assert golden_form.said(feature, name, known()[name]) == golden_of(feature, name)


def test_no_feature_is_left_out_by_any_dialect() -> None:
    wanted = {f"{feature}/{file}.json" for feature in features() for file in (*VENDORS, "neutral")}
    there = {f"{path.parent.name}/{path.name}" for path in GOLDENS.glob("*/*.json")}
    assert there == wanted


@pytest.mark.parametrize(("feature", "name"), CELLS)
def test_a_golden_has_every_side_of_its_feature(feature: str, name: str) -> None:
    golden, neutral = golden_of(feature, name), neutral_of(feature)
    assert set(neutral) <= {"request", "answer"} and neutral
    assert ("request" in golden) == ("request" in neutral)
    assert ("answer" in golden) == ("stream" in golden) == ("answer" in neutral)
    for side in TELLING:
        assert golden.get(side) != []


@pytest.mark.parametrize(("feature", "name"), CELLS)
def test_a_golden_is_spelled_as_the_draft_would_be(feature: str, name: str) -> None:
    """So that a change of a golden is a small difference."""
    assert spelled(golden_of(feature, name)) == (GOLDENS / feature / f"{name}.json").read_text("utf-8")


IN_THE_TABLE = {
    "stop_context_length", "stop_content_filter", "stop_sequence", "refusal",  # 5.8 has a word for each
    "usage_in_full", "usage_modalities",  # 5.9 has no place for some
    "tool_name_unicode",  # an alias that goes back (5.4)
}  # fmt: skip
"""Features whose value is said by a neighbour's word, as a table of LLM 5 has it: no loss, though that word reads as
something else."""


@pytest.mark.parametrize(("feature", "name"), CELLS)
def test_nothing_is_read_as_less_without_a_loss(feature: str, name: str) -> None:
    """A member of the neutral that comes back as nothing was named as lost, or is ``settled``."""
    golden = golden_of(feature, name)
    for side in TELLING:
        read = golden.get(side.replace("losses", "differs"), {})
        gone = [path for path, value in read.items() if value is None and not settled(feature, name, path)]
        if gone and feature not in IN_THE_TABLE:
            assert golden.get(side), gone


def settled(feature: str, name: str, path: str) -> bool:
    """What a dialect need not say, because a hint, another place or a law of its own says it as well."""
    last = path.rpartition(".")[2]
    if feature == "cache_marks":  # a hint (5.7)
        return True
    if feature == "tool_calls_parallel" and path.startswith("messages["):  # results go into one turn (5.2)
        return True
    if feature.startswith("tool_choice_") and path.startswith(("tool_choice.", "tools[")):  # fewer tools (5.4)
        return True
    if feature == "call_signed" and name == "openai_responses":  # the seal is an item of its own before the call
        return True
    if path == "thinking.effort" and name == "cohere_chat":  # said as its budget (5.6)
        return True
    if ".citations[" in path and last in ("quote", "start", "end"):  # the source is there, each in its own way
        return True
    if last == "name" and ".parts[" in path:  # of a tool's result: the id says it
        return True
    return path in SETTLED or last == "mime" or path.startswith(("options.", "usage."))


SETTLED = {
    "output.name", "output.strict",  # some have no names for schemas, and hold to each (5.5)
    "state.store",  # nothing is stored there anyway
}  # fmt: skip
