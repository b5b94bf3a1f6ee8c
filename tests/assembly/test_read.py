from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.assembly import read as module
from tidegate.assembly.problems import ConfigError
from tidegate.assembly.read import BadReference, read, resolve, resolve_tree


def written(folder: Path, text: str | bytes, name: str = "gw.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(path, environment)
    return [str(problem) for problem in caught.value.problems]


def tree(folder: Path, text: str, **environment: str) -> Any:
    return read(written(folder, text), environment).tree


# -- YAML --------------------------------------------------------------------------------------------------------------


def test_words_like_on_and_off_are_words_and_only_json_words_are_more(tmp_path: Path) -> None:
    assert tree(tmp_path, "a: {on: off, t: true, n: ~, i: 12, f: 1.5, time: 12:30, old: 010, d: 2027-01-01}") == {
        "a": {"on": "off", "t": True, "n": None, "i": 12, "f": 1.5, "time": "12:30", "old": "010", "d": "2027-01-01"}
    }


def test_keys_are_text(tmp_path: Path) -> None:
    assert tree(tmp_path, "1: a\ntrue: b\n") == {"1": "a", "true": "b"}


def test_a_key_twice_in_one_mapping_is_refused_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "routes:\n  - name: a\n    match: {}\n    name: b\n")
    assert refusal(path) == ["gw.yaml:4: the key name stands twice in one mapping  fix: keep one"]


def test_merge_keys_and_aliases_work_and_give_copies(tmp_path: Path) -> None:
    result = tree(tmp_path, "base: &b {x: 1, y: [1]}\nmore: {<<: *b, x: 2}\nsame: *b\n")
    assert result == {"base": {"x": 1, "y": [1]}, "more": {"x": 2, "y": [1]}, "same": {"x": 1, "y": [1]}}
    assert result["base"] is not result["same"]


def test_aliases_that_explode_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert refusal(written(tmp_path, "\n".join(lines))) == [
        "gw.yaml:1: its aliases make it too large  fix: write the values out"
    ]


def test_an_alias_inside_itself_is_refused(tmp_path: Path) -> None:
    assert "an alias stands inside what it names" in refusal(written(tmp_path, "a: &a {b: *a}\n"))[0]
    assert "an alias stands inside what it names" in refusal(written(tmp_path, "a: &a [*a]\n"))[0]


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, "listeners:\n  - address: [\n"))[0].startswith("gw.yaml:3: ")


def test_deep_nesting_is_refused_not_fatal(tmp_path: Path) -> None:
    assert len(refusal(written(tmp_path, "a: " + "[" * 5000))) == 1
    assert len(refusal(written(tmp_path, '{"a": ' + "[" * 100_000, "deep.json"))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "gw.yaml:1: is empty  fix: tidegate init writes a first one"),
        (b"# nothing\n", "gw.yaml:1: is empty  fix: tidegate init writes a first one"),
        (b"- a\n", "gw.yaml:1: must be a mapping of sections, like routes: and upstreams:"),
        (b"a: 1\nb: \xff\n", "gw.yaml:2: is not UTF-8 text  fix: save the file as UTF-8"),
        (b"a: 1\nb: \x07\n", "gw.yaml:2: is not UTF-8 text  fix: save the file as UTF-8"),
        (b"a: !!python/object:os.system x\n", "gw.yaml:1: could not determine a constructor"),
    ],
)
def test_what_is_no_config_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    assert refusal(written(tmp_path, text))[0].startswith(message)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == [
        "none.yaml: cannot be read: No such file or directory  fix: tidegate init writes a first one"
    ]


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_json_is_read_as_json(tmp_path: Path) -> None:
    assert read(written(tmp_path, '{"a": [1, "x", null]}', "gw.json"), {}).tree == {"a": [1, "x", None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "a": 2}', "gw.json:2: the key a stands twice in one object  fix: keep one"),
        ('{"a":\n tru}', "gw.json:2: is not JSON: Expecting value"),
        ('{"a": NaN}', "gw.json:1: is not JSON: NaN is not JSON"),
    ],
)
def test_bad_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(written(tmp_path, text, "gw.json")) == [message]


# -- includes ----------------------------------------------------------------------------------------------------------


def test_lists_of_included_files_are_appended_and_keep_their_origin(tmp_path: Path) -> None:
    written(tmp_path, json.dumps({"routes": [{"name": "b"}, {"name": "c"}]}), "more.json")
    written(tmp_path, "routes:\n  - name: d\n", "last.yaml")
    source = read(written(tmp_path, "routes:\n- name: a\ninclude: [more.json, last.yaml]\n"), {})
    assert [route["name"] for route in source.tree["routes"]] == ["a", "b", "c", "d"]
    assert str(source.problem(("routes", 0, "name"), "x")) == "gw.yaml:2: routes[0].name: x"
    assert str(source.problem(("routes", 2, "name"), "x")) == "more.json:1: routes[1].name: x"
    assert str(source.problem(("routes", 3, "name"), "x")) == "last.yaml:2: routes[0].name: x"
    assert [file.name for file in source.files] == ["gw.yaml", "more.json", "last.yaml"]


def test_an_included_file_holds_lists_of_items_only(tmp_path: Path) -> None:
    written(tmp_path, "listeners: []\nroutes: 7\n", "more.yaml")
    assert refusal(written(tmp_path, "include: [more.yaml, none.yaml]\n")) == [
        "more.yaml:1: listeners: this cannot be included  fix: keep listeners in gw.yaml; included files hold "
        "upstreams consumers routes trusted_proxies",
        "more.yaml:2: routes: this must be a list",
        "gw.yaml:1: include[1]: cannot be read: No such file or directory  fix: tidegate init writes a first one",
    ]


# -- references --------------------------------------------------------------------------------------------------------


def test_references_are_put_in_and_remembered_as_written(tmp_path: Path) -> None:
    path = written(tmp_path, "name: ${N:-gw}\nlist: ['${A}', plain, 'x${A}y']\nlit: '$${A}'\nempty: '${Z:-}'\n")
    source = read(path, {"A": "1", "Z": ""})
    assert source.tree == {"name": "gw", "list": ["1", "plain", "x1y"], "lit": "${A}", "empty": ""}
    assert source.references == {
        ("name",): "${N:-gw}",
        ("list", 0): "${A}",
        ("list", 2): "x${A}y",
        ("lit",): "$${A}",
        ("empty",): "${Z:-}",
    }


def test_references_of_included_files_stand_at_their_place_in_the_merged_list(tmp_path: Path) -> None:
    written(tmp_path, "routes: [{name: b}, {name: '${N}'}]", "more.yaml")
    source = read(written(tmp_path, "routes: [{name: a}]\ninclude: [more.yaml]\n"), {"N": "c"})
    assert source.references == {("routes", 2, "name"): "${N}"}
    assert source.tree["routes"][2] == {"name": "c"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${X}", "the environment variable X is not set  fix: set X, or write ${X:-default}"),
        ("${E}", "the environment variable E is set but empty  fix: set E, or write ${E:-default}"),
        ("${file:no}", "the file no cannot be read: No such file or directory  fix: check its path and mode"),
        ("${file:void}", "the file void is empty  fix: write the secret into it"),
        ("${file:bytes}", "the file bytes is not UTF-8 text  fix: name the right file"),
        ("${a b}", "a reference is written ${NAME}, ${NAME:-default} or ${file:/path}  "
                   "fix: write $${ for a literal ${"),
    ],
)  # fmt: skip
def test_cf_env_missing_a_reference_that_leads_nowhere_is_refused_by_name(
    tmp_path: Path, value: str, message: str
) -> None:
    written(tmp_path, b"\n", "void")
    written(tmp_path, b"\xff\xfe", "bytes")
    path = written(tmp_path, f"admin:\n  token: '{value}'\n")
    assert refusal(path, E="", SECRET="hunter2") == [f"gw.yaml:2: admin.token: {message}"]


def test_a_value_never_stands_in_a_message(tmp_path: Path) -> None:
    written(tmp_path, "hunter2\n", "secret")
    path = written(tmp_path, "a: '${file:secret}${NOPE}'\nb: '${PASSWORD}${NOPE}'\n")
    assert "hunter2" not in "\n".join(refusal(path, PASSWORD="hunter2"))


def test_cf_env_missing_a_world_readable_secret_is_warned_about(tmp_path: Path) -> None:
    secret = written(tmp_path, "hunter2\n", "secret")
    secret.chmod(0o644)
    source = read(written(tmp_path, "a:\n  b: '${file:secret}'\n"), {})
    assert source.tree == {"a": {"b": "hunter2"}}
    assert [str(w) for w in source.warnings] == [
        "gw.yaml:2: a.b: the file secret can be read by every user of this machine  fix: chmod 600 it"
    ]
    secret.chmod(0o600)
    assert read(written(tmp_path, "a:\n  b: '${file:secret}'\n"), {}).warnings == []


def test_a_secret_file_is_bounded(tmp_path: Path) -> None:
    written(tmp_path, b"x" * (module.MAX_SECRET + 1), "big")
    with pytest.raises(BadReference, match="larger than 64 KiB"):
        resolve("${file:big}", {}, tmp_path)


def test_a_whole_tree_is_resolved_into_a_copy(tmp_path: Path) -> None:
    before = {"a": ["${N}", 1], "b": {"c": "$${N}"}}
    assert resolve_tree(before, {"N": "x"}, tmp_path) == {"a": ["x", 1], "b": {"c": "${N}"}}
    assert before["a"] == ["${N}", 1]
