"""The config described from its own models: a JSON Schema for editors, a page of Markdown for people.

``python -m tidegate.assembly.reference`` writes the page, with ``--check`` it says whether the page is up to date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tidegate.assembly import parts
from tidegate.assembly.config import Gateway
from tidegate.ports.settings import format_duration, format_size

PAGE: Final = Path("docs/reference/configuration.md")
PLACES: Final = {"balancer": "balancers", "discovery": "discoveries", "filters": "filters", "sinks": "sinks"}
"""Field that holds parts → their kind."""
INTRODUCTION: Final = """\
# Configuration

Written by `python -m tidegate.assembly.reference` from `assembly/config.py`, `assembly/config_models.py`,
`assembly/config_contexts.py` and the `Config` of every part; do not edit it here.

Durations are written `500ms 1s 5m 1h`, sizes `512B 64KiB 10MiB`, rates `100/s 600/m`, shares in percent without a sign.
`${NAME}` stands for a variable of the environment, `${NAME:-default}` gives a default, `${file:/path}` reads a file,
and `$${` is a literal `${`. Unknown keys, wrong types and names that lead nowhere are refused with file and line. Paths
are relative to the config file. Ids like S3.1 name the rows of the design that own a meaning.
"""


def json_schema() -> str:
    """The JSON Schema of the whole config, parts as unions by ``use``."""
    return json.dumps(schema(), indent=2)


def schema() -> dict[str, Any]:
    """As :func:`json_schema`, as objects."""
    whole = Gateway.model_json_schema()
    definitions: dict[str, Any] = whole["$defs"]
    definitions.pop("Part")
    for owner in (whole, *list(definitions.values())):
        for name, field in owner.get("properties", {}).items():
            if name in PLACES:
                _point(field, f"#/$defs/{PLACES[name]}")
    for kind, called in parts.KINDS.items():
        choices = []
        for use in parts.known(kind):
            own = part_schema(kind, use)
            if own is not None:
                for name, definition in own.pop("$defs", {}).items():
                    definitions[f"{kind}.{use}.{name}"] = definition
                definitions[f"{kind}.{use}"] = own
                choices.append({"$ref": f"#/$defs/{kind}.{use}"})
        definitions[kind] = {"oneOf": choices, "description": f"A {called}, by name."} if choices else {}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def part_schema(kind: str, use: str) -> dict[str, Any] | None:
    """The schema of one part with its ``use``; None when it cannot be loaded here."""
    try:
        config = parts.load(kind, use).config
    except parts.PartError:
        return None
    own = config.model_json_schema(ref_template=f"#/$defs/{kind}.{use}.{{model}}")
    if "$ref" in own:
        own.update(own.get("$defs", {}).get(own.pop("$ref").rpartition(".")[2], {}))
    properties = {"use": {"const": use, "description": f"This {parts.KINDS[kind]}."}, **own.get("properties", {})}
    return {**own, "title": use, "properties": properties, "required": ["use", *own.get("required", [])]}


def _point(field: Any, target: str) -> None:
    """Turn every reference to a part inside *field* to *target*."""
    if isinstance(field, dict):
        if field.get("$ref") == "#/$defs/Part":
            field["$ref"] = target
        for value in field.values():
            _point(value, target)
    elif isinstance(field, list):
        for value in field:
            _point(value, target)


# -- the page ----------------------------------------------------------------------------------------------------------


def page() -> str:
    """The whole page."""
    whole = Gateway.model_json_schema()
    definitions = whole["$defs"]
    lines = [INTRODUCTION]
    for path, section in _sections(whole, definitions, "", set()):
        lines += [f"## {path or 'The top level'}", "", *_description(section), *_table(section, definitions)]
    for kind, called in parts.KINDS.items():
        lines += [f"## Every {called}", ""]
        for use in parts.known(kind):
            own = part_schema(kind, use)
            if own is None:
                continue
            inner = {f"{kind}.{use}.{name}": value for name, value in own.get("$defs", {}).items()}
            own["properties"].pop("use")
            lines += [f"### {use}", "", _about(kind, use), "", *_table(own, inner)]
            for path, section in _sections(own, inner, "", set()):
                if path:
                    lines += [f"#### {use}: {path}", "", *_description(section), *_table(section, inner)]
    return "\n".join(lines).rstrip() + "\n"


def _sections(
    section: dict[str, Any], definitions: dict[str, Any], path: str, seen: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, schema) of *section* and of every mapping under it, each once, in the order of the fields."""
    yield path, section
    for name, field in section.get("properties", {}).items():
        for reference, many in _references(field):
            key = reference.removeprefix("#/$defs/")
            if key in seen or key == "Part" or key not in definitions or "properties" not in definitions[key]:
                continue
            seen.add(key)
            inner = f"{path}.{name}" if path else name
            yield from _sections(definitions[key], definitions, inner + ("[]" if many else ""), seen)


def _references(field: dict[str, Any], many: bool = False) -> Iterator[tuple[str, bool]]:
    if "$ref" in field:
        yield field["$ref"], many
    for choice in (*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        yield from _references(choice, many)
    if isinstance(field.get("items"), dict):
        yield from _references(field["items"], True)


def _description(section: dict[str, Any]) -> list[str]:
    text = _plain(section.get("description", ""))
    return [text, ""] if text else []


def _about(kind: str, use: str) -> str:
    """The first paragraph of the module that holds the part."""
    module = sys.modules[parts.load(kind, use).config.__module__]
    return _plain((module.__doc__ or "").strip().partition("\n\n")[0])


def _table(section: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    properties = section.get("properties", {})
    if not properties:
        return ["No settings.", ""]
    lines = ["| setting | written as | default | meaning |", "|---|---|---|---|"]
    required = section.get("required", ())
    for name, field in properties.items():
        default = "required" if name in required else _default(field, definitions)
        meaning = _plain(field.get("description", ""))
        lines.append(f"| `{name}` | {_cell(_type(field, definitions))} | {_cell(default)} | {_cell(meaning)} |")
    return [*lines, ""]


def _type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """How a value is written."""
    if "enum" in field:
        return " ".join(f"`{value}`" for value in field["enum"] if value != "")
    if "const" in field:
        return f"`{field['const']}`"
    examples = field.get("examples")
    if examples:
        return " ".join(f"`{_short(example)}`" for example in examples)
    if "$ref" in field:
        target = definitions.get(field["$ref"].removeprefix("#/$defs/"), {})
        return "part" if field["$ref"].endswith("/Part") else _type(target, definitions) if (
            "enum" in target) else "mapping"  # fmt: skip
    for several in ("anyOf", "oneOf"):
        if several in field:
            kinds = [_type(choice, definitions) for choice in field[several] if choice.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    kind = field.get("type", "any")
    if kind == "array":
        return f"list of {_type(field['items'], definitions)}" if isinstance(field.get("items"), dict) else "list"
    if kind == "object":
        inner = field.get("additionalProperties")
        return f"name: {_type(inner, definitions)}" if isinstance(inner, dict) and inner else "mapping"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` `false`"}
    text = " or ".join(words.get(k, str(k)) for k in kind) if isinstance(kind, list) else words.get(kind, str(kind))
    return text + _range(field)


def _range(field: dict[str, Any]) -> str:
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum", field.get("exclusiveMaximum"))
    over = "over " if "exclusiveMinimum" in field else ""
    if low is not None and high is not None:
        return f", {over}{low:g} to {high:g}"
    return f", {over or 'from '}{low:g}" if low is not None else f", up to {high:g}" if high is not None else ""


def _default(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    default = field.get("default")
    if default in (None, "", [], {}):
        return ""
    if isinstance(default, dict) and "$ref" in field and not field["$ref"].endswith("/Part"):
        return "as below"
    examples = field.get("examples", ())
    if isinstance(default, (int, float)) and "500ms" in examples:
        default = format_duration(float(default))
    elif isinstance(default, int) and "64KiB" in examples:
        default = format_size(default)
    elif default == 0 and "p95" in examples:
        default = "p95"
    return f"`{_short(default)}`"


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(text: str) -> str:
    """Docstring text as Markdown on one line."""
    return re.sub(r"\s+", " ", re.sub(r"``([^`]*)``", r"`\1`", text)).strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` compare it; 1 when it is stale."""
    target = Path(next((word for word in arguments if not word.startswith("-")), str(PAGE)))
    text = page()
    if "--check" in arguments:
        fresh = target.is_file() and target.read_text("utf-8") == text
        print(f"{target} is {'up to date' if fresh else 'stale: run python -m tidegate.assembly.reference'}")
        return 0 if fresh else 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
