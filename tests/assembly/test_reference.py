from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.assembly import reference
from tidegate.assembly.parts import KINDS, known
from tidegate.assembly.read import read


def test_the_schema_knows_every_part_as_a_union_by_use() -> None:
    schema = json.loads(reference.json_schema())
    definitions = schema["$defs"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "Part" not in definitions
    for kind in KINDS:
        uses = [choice["$ref"].rpartition(".")[2] for choice in definitions[kind].get("oneOf", [])]
        assert uses == known(kind)
    api_key = definitions["filters.api_key"]
    assert api_key["properties"]["use"]["const"] == "api_key" and "use" in api_key["required"]
    assert definitions["Route"]["properties"]["filters"]["items"] == {"$ref": "#/$defs/filters"}
    assert definitions["Upstream"]["properties"]["balancer"]["$ref"] == "#/$defs/balancers"


def test_no_reference_of_the_schema_leads_nowhere() -> None:
    text = reference.json_schema()
    definitions = json.loads(text)["$defs"]
    targets = {piece.partition('"')[0] for piece in text.split('"#/$defs/')[1:]}
    assert targets and targets <= set(definitions)


def test_the_page_tells_every_setting_with_its_default_and_unit() -> None:
    page = reference.page()
    assert (
        "| `connect` | `500ms` `1s` `5m` `1h` | `1s` | For one TCP connection; then the next endpoint is tried" in page
    )
    assert "## upstreams[].breaker" in page and "## routes[].match" in page and "## listeners[].tls" in page
    assert "### api_key" in page and "### peak_ewma" in page
    assert "| `token` | text |  | The admin token." in page


def test_the_page_is_written_and_known_to_be_stale_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "deep" / "configuration.md"
    assert reference.main(["--check", str(target)]) == 1
    assert reference.main([str(target)]) == 0
    assert reference.main(["--check", str(target)]) == 0
    target.write_text(target.read_text() + "x")
    assert reference.main(["--check", str(target)]) == 1
    assert "is stale: run python -m tidegate.assembly.reference" in capsys.readouterr().out


def test_the_example_fits_the_schema() -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    example = read(Path(__file__).parents[2] / "examples" / "http.yaml", {}).tree
    validator = jsonschema_rs.validator_for(reference.schema())
    assert [str(error) for error in validator.iter_errors(example)] == []
    example["routes"][0]["filters"][0]["optinal"] = True
    assert not validator.is_valid(example)
