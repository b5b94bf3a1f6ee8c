"""Generations in control: numbered, written whole, recalled (S23.1, S23.3, C8.2, CF-reload-partial)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tidegate.assembly.problems import ConfigError
from tidegate.control.data_folder import DataFolder
from tidegate.control.generations import Generations, key_set_urls

PEPPER = bytes(32)
CONFIG = """
listeners: [{address: 127.0.0.1:8080}]
consumers: [{name: a, keys: [a-key-of-a-consumer]}]
routes:
  - {name: hello, match: {path: /hello}, respond: {status: 204}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    return folder


def test_the_first_generation_is_1_and_the_same_config_is_not_written_again(tmp_path: Path, folder: DataFolder) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG)
    generations = Generations(config, {})
    assert generations.write(generations.check(), folder, PEPPER) == 1
    assert generations.plan is not None and [route.name for route in generations.plan.routes] == ["hello"]
    assert generations.write(generations.check(), folder, PEPPER) == 1
    config.write_text(CONFIG.replace("204", "205"))
    assert generations.write(generations.check(), folder, PEPPER) == 2
    assert folder.generations() == [1, 2]
    assert msgspec.json.decode(folder.plan(2).read_bytes())["number"] == 2
    assert folder.plan(2).read_bytes() == generations.content


def test_no_key_of_a_consumer_is_written(tmp_path: Path, folder: DataFolder) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG)
    generations = Generations(config, {})
    generations.write(generations.check(), folder, PEPPER)
    assert b"a-key-of-a-consumer" not in folder.plan(1).read_bytes()


def test_a_new_process_goes_on_with_the_number_and_writes_nothing_new(tmp_path: Path, folder: DataFolder) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG)
    first = Generations(config, {})
    first.write(first.check(), folder, PEPPER)
    second = Generations(config, {})
    assert second.write(second.check(), folder, PEPPER) == 1
    config.write_text("broken: [")
    third = Generations(config, {})
    with pytest.raises(ConfigError):
        third.check()
    assert third.recall(folder)
    assert third.number == 1 and third.checked is None
    assert third.plan is not None and third.plan.routes[0].name == "hello"


def test_nothing_is_recalled_from_nothing_or_from_damage(tmp_path: Path, folder: DataFolder) -> None:
    generations = Generations(tmp_path / "c.yaml", {})
    assert generations.recall(folder) is False
    folder.replace("plans/3.json", b"{}")
    assert generations.recall(folder) is False
    assert generations.number == 0


def test_the_same_bytes_get_a_new_number_when_what_they_name_has_changed(tmp_path: Path, folder: DataFolder) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG)
    generations = Generations(config, {})
    generations.write(generations.check(), folder, PEPPER)
    assert generations.renumber(folder) == 2
    one, two = (msgspec.json.decode(folder.plan(number).read_bytes()) for number in (1, 2))
    assert (one.pop("number"), two.pop("number")) == (1, 2)
    assert one == two
    assert generations.write(generations.check(), folder, PEPPER) == 2


def test_key_sets_are_found_where_filters_name_them(tmp_path: Path, folder: DataFolder) -> None:
    filters = (
        "    filters: [{use: jwt, jwks: '${URL}', issuer: 'https://issuer.example', audience: [a],"
        " algorithms: [RS256]}]\n"
    )
    config = tmp_path / "c.yaml"
    plain = "  - {name: hello, match: {path: /hello}, respond: {status: 204}}\n"
    written = "  - name: hello\n    match: {path: /hello}\n    respond: {status: 204}\n" + filters
    config.write_text(CONFIG.replace(plain, written))
    environment = {"URL": "https://issuer.example/keys"}
    generations = Generations(config, environment)
    generations.write(generations.check(), folder, PEPPER)
    assert key_set_urls(generations.content, environment) == {"https://issuer.example/keys"}
    assert key_set_urls(b"{}", environment) == set()
