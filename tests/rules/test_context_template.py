"""Templates are refused when they could move the prefix, and values stay values (CRP 9; #52)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.context import Added, Item, Provenance, View
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.rules.context_fold import fold
from tidegate.rules.context_template import Values, compile_template, system_text, tail_text

LIMITS = ContextLimits()
AIRLINE = {
    "name": "airline-agent",
    "slots": {
        "tier": {"type": "string", "stable": True, "default": "standard", "max_bytes": 64},
        "prefs": {"from": {"type": ["preference"], "key": "travel.*"}, "stable": True, "limit": 2},
        "found": {"from": "recall", "stable": False},
        "now": {"from": "clock", "stable": False, "format": "iso-minute"},
    },
    "system": "You serve airline customers of tier {{tier}}.\n{{?prefs}}Known preferences: {{prefs}}{{/prefs}}",
    "tail": "Now: {{now}}. {{?found}}Earlier in this dialogue: {{found}}{{/found}}",
    "tools": ["search_flights", "book"],
}
PREFS = (
    Item(id="2", type="preference", key="travel.seat", content=b'"aisle"'),
    Item(id="1", type="preference", key="travel.class", content=b'"second"'),
    Item(id="3", type="preference", key="food", content=b'"none"'),
    Item(id="4", type="preference", key="travel.a", content=b'"poison"', provenance=Provenance("tool")),
)


def view(*items: Item, state: bytes = b"{}") -> View:
    made = fold(View(context="c"), [Added(items)], "v", 1)
    return View(context="c", items=made.items, by_id=made.by_id, by_key=made.by_key, state=state)


def compiled(**changes: Any) -> Any:
    return compile_template(json.dumps({**AIRLINE, **changes}).encode(), LIMITS)


def test_9_the_example_of_the_specification() -> None:
    template = compiled()
    values = Values(view(*PREFS), b'{"tier":"gold"}', now=1_700_000_000_000, recalled=PREFS[:1])
    assert system_text(template, values) == (
        'You serve airline customers of tier gold.\nKnown preferences: travel.class: "second"\ntravel.seat: "aisle"'
    )
    assert tail_text(template, values) == "Now: 2023-11-14T22:13Z. Earlier in this dialogue: aisle"
    assert template.tools == ("search_flights", "book")
    bare = Values(view())
    assert system_text(template, bare) == "You serve airline customers of tier standard.\n"
    assert tail_text(template, bare) == "Now: 1970-01-01T00:00Z. "


def test_9_what_tools_and_documents_brought_fills_no_slot_of_the_system_cx_poison() -> None:
    template = compiled(
        tail="{{prefs}}", slots={"prefs": {**AIRLINE["slots"]["prefs"], "limit": 9}}, system="{{prefs}}"
    )  # type: ignore[index]
    values = Values(view(*PREFS))
    assert "poison" not in system_text(template, values)
    assert "poison" in tail_text(template, values)


def test_52_values_are_never_parsed_again() -> None:
    template = compiled(system="{{tier}}")
    evil = "{{prefs}}{{?x}}{{/tier}}"
    assert system_text(template, Values(view(*PREFS), json.dumps({"tier": evil}).encode())) == evil


@pytest.mark.parametrize("source", ["clock", "place", "recall"])
@pytest.mark.parametrize("text", ["{{s}}", "{{?s}}x{{/s}}"])
def test_52_a_volatile_slot_above_the_breakpoint_is_refused(source: str, text: str) -> None:
    for changes in ({"system": text}, {"system": "", "tools": [text]}):
        with pytest.raises(Fault) as refused:
            compiled(slots={"s": {"from": source}}, tail="", **changes)
        assert (refused.value.code, refused.value.reason) == ("delta_invalid", "volatile_slot")
    with pytest.raises(Fault) as refused:
        compiled(slots={"s": {"from": source, "stable": True}}, system="", tail="")
    assert refused.value.reason == "volatile_slot"


def test_52_a_slot_that_says_it_is_volatile_is() -> None:
    with pytest.raises(Fault) as refused:
        compiled(slots={"s": {"stable": False}}, system="{{s}}", tail="")
    assert refused.value.reason == "volatile_slot"
    assert compiled(slots={"s": {"stable": False}}, system="", tail="{{s}}").tail == (("slot", "s"),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"system": "{{nobody}}"}, "unknown_slot"),
        ({"system": "{{?tier}}"}, "unbalanced_section"),
        ({"system": "{{/tier}}"}, "unbalanced_section"),
        ({"system": "{{?tier}}{{?prefs}}{{/tier}}{{/prefs}}"}, "unbalanced_section"),
        ({"system": "{{#tier}}"}, "bad_mark"),
        ({"system": "{{ tier }}"}, "bad_mark"),
        ({"system": "}}"}, "bad_mark"),
        ({"system": "{{?tier}}" * 9 + "{{/tier}}" * 9}, "too_deep"),
        ({"tools": ["{{tier}}"]}, "slot_in_tools"),
        ({"include": "x"}, "unknown_member"),
        ({"slots": {"a b": {}}}, "bad_slot"),
        ({"slots": {"a": {"from": "nowhere"}}}, "unknown_source"),
        ({"slots": {"a": {"max_bytes": 65 * 1024}}}, "bad_slot"),
        ({"slots": {"a": {"from": {"state": "x"}}}}, "bad_pointer"),
        ({"slots": {"a": {"from": {"key": 1}}}}, "bad_selector"),
        ({"slots": {f"s{n}": {} for n in range(129)}}, "slots"),
        ({"system": "x" * 256 * 1024}, "too_large"),
    ],
)  # fmt: skip
def test_52_what_is_no_template_is_refused(changes: dict[str, Any], reason: str) -> None:
    given = {"tail": "", "tools": [], **changes}
    if "slots" in changes:
        given["system"] = ""
    with pytest.raises(Fault) as refused:
        compiled(**given)
    assert (refused.value.status, refused.value.reason) == (422, reason)


def test_a_slot_without_a_value_is_slot_missing_and_a_section_of_it_is_empty() -> None:
    template = compiled(
        slots={"a": {}, "b": {"from": {"state": "/trip/mode"}}}, system="{{a}}", tail="{{?b}}by {{b}}{{/b}}"
    )
    with pytest.raises(Fault) as refused:
        system_text(template, Values(view()))
    assert (refused.value.code, refused.value.reason) == ("slot_missing", "a")
    assert tail_text(template, Values(view())) == ""
    assert tail_text(template, Values(view(state=b'{"trip":{"mode":"train"}}'))) == "by train"


@pytest.mark.parametrize(
    ("kind", "right", "wrong"), [("string", '"x"', "1"), ("number", "1.5", "true"), ("boolean", "true", '"x"')]
)
def test_a_value_has_the_type_and_the_size_of_its_slot(kind: str, right: str, wrong: str) -> None:
    template = compiled(slots={"a": {"type": kind, "max_bytes": 4}}, system="{{a}}", tail="")
    assert system_text(template, Values(view(), f'{{"a":{right}}}'.encode())) == right.strip('"')
    for value in (wrong, '"xxxxx"'):
        with pytest.raises(Fault):
            system_text(template, Values(view(), f'{{"a":{value}}}'.encode()))


def test_sections_inside_of_each_other() -> None:
    slots = {"a": {"default": ""}, "b": {"default": "B"}}
    template = compiled(slots=slots, system="1{{?a}}2{{?b}}3{{/b}}4{{/a}}5{{?b}}6{{?a}}7{{/a}}8{{/b}}9", tail="")
    assert system_text(template, Values(view())) == "15689"
    assert system_text(template, Values(view(), b'{"a":"x"}')) == "123456789"


def test_the_place_is_the_latest_one() -> None:
    places = [Item(id=n, type="place", content=b'"%b"' % n.encode()) for n in ("ulm", "bonn")]
    template = compiled(slots={"p": {"from": "place"}}, system="", tail="{{p}}")
    assert tail_text(template, Values(view(*places))) == 'place bonn: "bonn"'
