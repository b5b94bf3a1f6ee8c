from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidegate.assembly import generation
from tidegate.assembly.config import Gateway
from tidegate.ports.consumers import Consumer

BASE: dict[str, Any] = {
    "listeners": [{"address": "127.0.0.1:8080"}],
    "admin": {"token": "hunter2"},
    "upstreams": [{"name": "u", "targets": [{"url": "http://10.0.0.1:80"}]}],
    "routes": [{"name": "r", "match": {"path": "/r"}, "upstream": "u"}],
}


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def written(number: int = 1, references: Any = None, **more: Any) -> bytes:
    return generation.write(Gateway.model_validate({**BASE, **more}), references or {}, number, Path("/etc/gw"), digest)


def test_a_generation_is_json_with_defaults_filled() -> None:
    tree = msgspec.json.decode(written(7))
    assert (tree["format"], tree["number"], tree["folder"]) == (1, 7, "/etc/gw")
    assert tree["routes"][0]["priority"] == 2
    assert tree["upstreams"][0]["timeouts"]["request"] == "30s"
    assert tree["settings"]["limits"]["head_timeout"] == "10s"


def test_what_only_control_needs_is_not_in_it() -> None:
    data = written()
    assert b"hunter2" not in data
    assert not {"admin", "data", "workers", "include", "routes"} & set(msgspec.json.decode(data)["settings"])


def test_every_item_is_good_config_again() -> None:
    tree = msgspec.json.decode(written(routes=[
        {"name": "a", "match": {}, "respond": {"json": {"x": None}}},
        {"name": "b", "match": {}, "split": {"arms": [{"upstream": "u", "header": {"X-A": "1"}}]}},
        {"name": "c", "match": {}, "redirect": {"host": "new.example"}, "timeouts": {"request": "5s"}},
    ], trusted_proxies=["10.0.0.0/8"]))  # fmt: skip
    again = Gateway.model_validate({**tree["settings"], "upstreams": tree["upstreams"], "routes": tree["routes"]})
    assert [route.lane for route in again.routes] == ["respond", "http", "redirect"]
    assert again.routes[1].split is not None and again.routes[1].split.arms[0].header == {"x-a": "1"}
    assert again.routes[2].timeouts is not None and again.routes[2].timeouts.request == 5.0


def test_unchanged_items_have_the_same_bytes_in_every_generation() -> None:
    one, two = generation.split(written(1)), generation.split(written(2, workers=3))
    assert list(map(bytes, one.routes)) == list(map(bytes, two.routes))
    assert list(map(bytes, one.upstreams)) == list(map(bytes, two.upstreams))
    assert bytes(one.settings) == bytes(two.settings)


def test_references_stand_in_it_as_written_never_their_values() -> None:
    references = {
        ("admin", "token"): "${T}",
        ("name",): "${N}",
        ("routes", 0, "respond", "headers", "X-Secret"): "${S}",
        ("routes", 0, "filters", 0, "secrets", 1): "${file:/k}",
        ("consumers", 0, "hmac"): "${H}",
        ("consumers", 0, "keys", 0): "${K}",
    }
    data = written(
        1,
        references,
        name="resolved-name",
        routes=[{"name": "r", "match": {}, "respond": {"headers": {"X-Secret": "resolved-field"}},
                 "filters": [{"use": "jwt", "secrets": ["plain", "resolved-setting"]}]}],
        consumers=[{"name": "c", "keys": ["resolved-key"], "hmac": "resolved-hmac-secret"}],
    )  # fmt: skip
    assert b"resolved" not in data
    tree = msgspec.json.decode(data)
    assert tree["settings"]["name"] == "${N}"
    assert tree["routes"][0]["respond"]["headers"] == {"x-secret": "${S}"}
    assert tree["routes"][0]["filters"][0]["secrets"] == ["plain", "${file:/k}"]
    assert tree["consumers"][0]["secrets"] == {"hmac": "${H}"}


def test_keys_of_consumers_are_digests() -> None:
    item = {"name": "c", "keys": ["tg-secret-key"], "tags": ["gold"], "priority": 1, "expires": "2027-01-31"}
    data = written(consumers=[{**item, "disabled": True, "tenant": "acme", "scopes": ["read"]}])
    assert b"tg-secret-key" not in data
    (found,) = generation.consumers(generation.split(data), {})
    assert found.consumer == Consumer("c", "acme", "", ("gold",), ("read",), 1, 1801353600.0, True)
    assert found.digests == (digest(b"tg-secret-key"),)
    assert found.secrets == {}


def test_secrets_of_consumers_are_put_in_when_they_are_read() -> None:
    data = written(1, {("consumers", 0, "hmac"): "${H}"}, consumers=[
        {"name": "a", "hmac": "resolved-hmac-secret"}, {"name": "b", "hmac": "literal-${x}-secret"}])  # fmt: skip
    a, b = generation.consumers(generation.split(data), {"H": "from-the-environment"})
    assert a.secrets == {"hmac": "from-the-environment"}
    assert b.secrets == {"hmac": "literal-${x}-secret"}


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'{"format":1}', written()[:-1]])
def test_what_is_no_generation_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="this is no generation file"):
        generation.split(data)


def test_a_generation_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 2, this program reads 1"):
        generation.split(written().replace(b'"format":1', b'"format":2', 1))


def test_a_generation_gets_another_number_and_nothing_else() -> None:
    assert generation.numbered(written(9), 10) == written(10)
    assert generation.numbered(written(10), 9) == written(9)


def test_consumers_are_lines_of_their_own_and_read_one_by_one() -> None:
    items = [{"name": name, "tags": ['x,\n"consumers":[']} for name in ("a", "b", "c")]
    data = written(consumers=items)
    assert len(msgspec.json.decode(data)["consumers"]) == 3
    found = generation.split(data)
    assert found.consumers.count(b"\n") == 2
    assert [each.consumer.name for each in generation.consumers(found, {})] == ["a", "b", "c"]
    assert list(generation.consumers(generation.split(written()), {})) == []


# -- callers of models -------------------------------------------------------------------------------------------------


def test_consumers_stand_by_name_so_that_one_is_found_without_reading_the_others() -> None:
    names = [f"c{number * 7919 % 500}" for number in range(500)]
    lines = generation.split(written(consumers=[{"name": name, "tags": [name]} for name in names])).consumers
    for name in names:
        found = generation.find(lines, name)
        assert found is not None and found.tags == (name,)
    for name in ("", "c", "c500", "C1", "zzz", "c1x", "0"):
        assert generation.find(lines, name) is None


@pytest.mark.parametrize("count", range(6))
def test_the_first_and_the_last_are_found_among_few(count: int) -> None:
    names = [f"n{number}" for number in range(count)]
    lines = generation.split(written(consumers=[{"name": name} for name in names])).consumers
    assert [found.name for name in names if (found := generation.find(lines, name))] == names
    assert generation.find(lines, "a") is None and generation.find(lines, "z") is None


def test_a_key_with_words_of_its_own_narrows_its_consumer() -> None:
    data = written(consumers=[{
        "name": "c", "expires": "2030-01-01", "team": "red", "models": ["fast"], "aliases": {"a": "fast"},
        "budget": {"usd": 1.5}, "limits": {"requests": "9/m"}, "regions": ["eu"],
        "keys": ["plain-key", {"key": "short-lived", "name": "ci", "expires": "2027-01-31", "models": []},
                 {"key": "long-lived", "expires": "2031-01-01", "budget": {"usd": 1, "per": "day"}}],
    }])  # fmt: skip
    assert b"short-lived" not in data and b"long-lived" not in data
    generation_ = generation.split(data)
    (found,) = generation.consumers(generation_, {})
    assert found.digests == tuple(map(digest, [b"plain-key", b"short-lived", b"long-lived"]))
    owners = dict(found.owners)
    assert set(owners) == {digest(b"short-lived"), digest(b"long-lived")}
    assert (owners[digest(b"short-lived")].key_id, owners[digest(b"short-lived")].expires) == ("ci", 1801353600.0)
    long_lived = owners[digest(b"long-lived")]
    assert (long_lived.key_id, long_lived.expires) == (digest(b"long-lived")[:4].hex(), found.consumer.expires)
    stored = generation.find(generation_.consumers, "c")
    assert stored is not None
    assert (stored.team, stored.models, stored.aliases, stored.regions) == ("red", ("fast",), {"a": "fast"}, ("eu",))
    assert (stored.budget, stored.limits.requests) == (((1_500_000_000, "month"),), (9, 60.0))
    assert [(key.id, key.models, key.budget) for key in stored.keys] == [
        ("ci", (), ()), (digest(b"long-lived")[:4].hex(), None, ((1_000_000_000, "day"),))]  # fmt: skip


def test_a_consumer_without_words_about_models_costs_no_byte_for_them() -> None:
    lines = generation.split(written(consumers=[{"name": "c"}])).consumers
    assert lines == b'{"name":"c"}'


def test_a_reference_in_a_list_of_one_without_brackets_is_put_back() -> None:
    references = {("tenants", 0, "budget", "usd"): "${USD}", ("providers", 0, "api_key"): "${KEY:-}"}
    data = written(1, references, tenants=[{"name": "t", "budget": {"usd": 7}}],
                   providers=[{"name": "o", "use": "openai", "api_key": "sk-resolved"}])  # fmt: skip
    tree = msgspec.json.decode(data)
    assert tree["settings"]["tenants"][0]["budget"][0]["usd"] == "${USD}"
    assert tree["providers"][0]["api_key"] == "${KEY:-}"
    assert b"sk-resolved" not in data


def test_what_is_known_of_models_travels_beside_the_settings() -> None:
    config = Gateway.model_validate(BASE)
    data = generation.write(config, {}, 1, Path("/"), digest, b'{"source":"table"}')
    assert bytes(generation.split(data).facts) == b'{"source":"table"}'
    assert bytes(generation.split(written()).facts) == b"{}"
    assert b'"facts"' not in bytes(generation.split(data).settings)
