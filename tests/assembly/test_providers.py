from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.assembly import providers as p
from tidegate.assembly.config_models import Provider
from tidegate.assembly.models import dialects
from tidegate.assembly.parts import PartError
from tidegate.ports.provider import SigV4

FOLDER = Path("/nowhere")


def provider(**more: Any) -> Provider:
    return Provider.model_validate({"name": "one", "use": "openai", **more})


def reached(**more: Any) -> p.Reached:
    item = provider(**more)
    return p.reach(item, p.load_preset(item.use), dialects())


def paid(environment: dict[str, str] | None = None, folder: Path = FOLDER, **more: Any) -> list[Any]:
    """(fields, query, signer, secret) of each credential."""
    item = provider(**more)
    found = p.credentials(item, p.load_preset(item.use), environment or {}, folder)
    return [(dict(plan.fields), plan.query, plan.signer, plan.secret) for plan in found]


# -- presets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", p.known_presets())
def test_every_preset_builds(use: str) -> None:
    preset = p.load_preset(use)
    settings = {name: "value1" for name, default in p.asked_for(preset).items() if default is None}
    item = provider(use=use, **settings, **({"base_url": "http://h:1/v1"} if preset.base_url == "{base_url}" else {}))
    assert list(p.troubles(item, preset)) == []
    found = p.reach(item, preset, dialects())
    assert found.doors and found.left_out == ()
    assert set(found.targets) == {door.upstream for door in found.doors.values()} | {"provider:one"}
    for door in found.doors.values():
        filled = door.path.replace("{model}", "").replace("{action}", "").replace("{voice}", "")
        assert "{" not in filled and (filled.startswith("/") or not filled), door
        assert "{" not in found.targets[door.upstream].host


def test_a_name_that_is_no_preset_says_which_was_meant() -> None:
    with pytest.raises(PartError, match="there is no provider called opnai") as caught:
        p.load_preset("opnai")
    assert caught.value.fix == "did you mean openai?"
    with pytest.raises(PartError) as caught:
        p.load_preset("presets")
    with pytest.raises(PartError) as caught:
        p.load_preset("qqqqqqqqqqqqqqqqqqqq")
    assert "use: openai_compatible" in caught.value.fix


@pytest.mark.parametrize(
    ("settings", "problems"),
    [
        ({"use": "vertex", "location": "eu"}, ["project: is missing: the provider vertex needs it"]),
        ({"use": "openai", "region": "eu"}, ["region: is not known here"]),
        ({"use": "bedrock"}, []),
        ({"use": "bedrock", "region": "eu/../x"},
         ["region: is put into a URL, so it has letters, digits and . _ ~ - only"]),
        ({"use": "bedrock", "region": True},
         ["region: is put into a URL, so it has letters, digits and . _ ~ - only"]),
        ({"use": "openai_compatible"}, ["base_url: is missing: the provider openai_compatible can be anywhere"]),
        ({"use": "openai", "base_url": "http://user@h/v1"},
         ["base_url: is no URL without user name, query and fragment"]),
        ({"use": "openai", "base_url": "https://h/v1?x=1"},
         ["base_url: is no URL without user name, query and fragment"]),
        ({"use": "vertex", "base_url": "https://{location}.h/{project}", "location": "a", "project": "b"}, []),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_the_preset_are_told(settings: dict[str, Any], problems: list[str]) -> None:
    item = provider(**settings)
    found = p.troubles(item, p.load_preset(item.use))
    assert [f"{trouble.path[0]}: {trouble.message}" for trouble in found] == problems


# -- URLs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "door", "path"),
    [
        ("/v1", "/chat/completions", "/chat/completions"),
        ("", "/v1/messages", "/v1/messages"),
        ("/v1", "/v1/messages", "/messages"),
        ("/proxy/v1beta", "/v1beta/models/{model}:{action}", "/models/{model}:{action}"),
        ("/v1", "/v1beta/models", "/v1beta/models"),
        ("/api", "/api/chat", "/api/chat"),
        ("/v1", "/v1", "/v1"),
        ("/endpoints/x", "", ""),
    ],
)
def test_a_version_that_base_and_door_both_name_stands_once(base: str, door: str, path: str) -> None:
    assert p.joined(base, door) == path


def test_a_provider_is_asked_where_its_preset_says() -> None:
    found = reached()
    target = found.targets["provider:one"]
    assert (target.scheme, target.host, target.port, target.base_path) == ("https", "api.openai.com", 443, "/v1")
    assert (found.doors["chat"].upstream, found.doors["chat"].path) == ("provider:one", "/chat/completions")
    assert [door.surface for door in found.chat_doors] == ["chat", "responses"]


def test_placeholders_are_filled_but_for_those_of_each_call() -> None:
    found = reached(use="vertex_anthropic", location="europe-west1", project="p-1")
    target = found.targets["provider:one"]
    assert target.host == "europe-west1-aiplatform.googleapis.com"
    assert target.base_path == "/v1/projects/p-1/locations/europe-west1/publishers/anthropic"
    assert found.doors["chat"].path == "/models/{model}:rawPredict"
    assert found.doors["chat"].stream_path == "/models/{model}:streamRawPredict"


def test_a_door_at_another_host_is_another_upstream() -> None:
    found = reached(use="minimax")
    assert found.doors["messages"].upstream == "provider:one:api.minimax.io"
    assert found.doors["messages"].path == "/anthropic/v1/messages"
    assert found.targets["provider:one:api.minimax.io"].base_path == ""


def test_a_key_never_goes_to_another_host_than_the_base_url_of_the_config() -> None:
    found = reached(use="minimax", base_url="http://127.0.0.1:9301/v1")
    assert set(found.targets) == {"provider:one"}
    assert (set(found.left_out), "messages" in found.doors) == ({"messages", "count_tokens"}, False)


def test_a_door_whose_dialect_is_not_there_is_left_out() -> None:
    item = provider()
    found = p.reach(item, p.load_preset("openai"), {})
    assert found.chat_doors == () and "chat" not in found.doors and "files" in found.doors


def test_fields_and_query_of_the_preset_and_the_config_are_sent() -> None:
    found = reached(use="azure_foundry", resource="r1", headers={"X-Team": "a"}, api_version="2025-01-01")
    assert found.doors["chat"].fields == (("x-team", "a"),)
    assert found.doors["chat"].query == (("api-version", "2025-01-01"),)


def test_nothing_between_a_model_and_its_provider_opens_or_retries_by_itself() -> None:
    item = provider(limits={"in_flight": 7}, timeouts={"connect": "2s", "idle": "9s"}, verify=False)
    made = p.upstreams(item, reached().targets, lambda name: name, "/ca.pem")  # type: ignore[arg-type, return-value]
    (plan,) = made
    assert (plan.name, plan.balancer, plan.host, plan.warm) == ("provider:one", "provider:one", "upstream", 0)
    assert (plan.breaker.mode, plan.retry.attempts, plan.hedge, plan.health) == ("disabled", 0, None, None)
    assert (plan.timeouts.connect, plan.timeouts.idle, plan.timeouts.request) == (2.0, 9.0, 600.0)
    assert (plan.bulkhead.max_in_flight, plan.bulkhead.adaptive, plan.max_connections) == (7, False, 7)
    assert (plan.tls.ca, plan.tls.verify) == ("/ca.pem", False)


# -- credentials -------------------------------------------------------------------------------------------------------


def test_the_key_of_the_config_wins_over_the_environment() -> None:
    assert paid({"OPENAI_API_KEY": "b"}, api_key="a") == [({"authorization": "Bearer a"}, (), "", "")]
    assert paid({"OPENAI_API_KEY": "b"}) == [({"authorization": "Bearer b"}, (), "", "")]
    assert paid() == []


def test_several_keys_are_several_credentials_with_ids_that_tell_nothing() -> None:
    item = provider(api_keys=["sk-one", "sk-two", "sk-one"])
    found = p.credentials(item, p.load_preset("openai"), {}, FOLDER)
    assert [plan.id for plan in found] == ["456f1612", "5e312785"]
    assert "sk-one" not in repr([plan.id for plan in found])


@pytest.mark.parametrize(
    ("settings", "environment", "credential"),
    [
        ({"use": "anthropic"}, {"ANTHROPIC_API_KEY": "k"}, ({"x-api-key": "k"}, (), "", "")),
        ({"use": "gemini"}, {"GOOGLE_API_KEY": "k"}, ({"x-goog-api-key": "k"}, (), "", "")),
        ({"use": "deepgram"}, {"DEEPGRAM_API_KEY": "k"}, ({"authorization": "Token k"}, (), "", "")),
        ({"use": "azure_anthropic", "resource": "r", "api_key": "k"}, {},
         ({"x-api-key": "k", "api-key": "k"}, (), "", "")),
        ({"use": "azure_openai", "resource": "r", "api_key": "k"}, {}, ({"api-key": "k"}, (), "", "")),
        ({"use": "azure_openai", "resource": "r", "api_key": "id:secret"}, {}, ({}, (), "oauth", "id:secret")),
        ({"use": "openai_compatible", "base_url": "http://h/v1", "api_key": "k"}, {},
         ({"authorization": "Bearer k"}, (), "", "")),
        ({"use": "bedrock"}, {"AWS_BEARER_TOKEN_BEDROCK": "t", "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"},
         ({"authorization": "Bearer t"}, (), "", "")),
        ({"use": "bedrock"}, {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "s"},
         ({}, (), "sigv4", "AKIAIOSFODNN7EXAMPLE:s")),
        ({"use": "bedrock"}, {"AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "s",
                              "AWS_SESSION_TOKEN": "t"}, ({}, (), "sigv4", "ASIAIOSFODNN7EXAMPLE:s:t")),
    ],
)  # fmt: skip
def test_each_style_says_who_pays_in_its_own_way(settings: Any, environment: Any, credential: Any) -> None:
    assert paid(environment, **settings) == [credential]


def test_a_door_may_want_the_key_elsewhere() -> None:
    item = provider(use="deepseek", api_key="k")
    (plan,) = p.credentials(item, p.load_preset("deepseek"), {}, FOLDER)
    assert plan.carried("chat").fields == (("authorization", "Bearer k"),)
    for surface in ("messages", "count_tokens"):
        assert plan.carried(surface).fields == (("x-api-key", "k"),)
    assert "'k'" not in repr(plan)


def test_half_a_signature_is_none() -> None:
    assert paid({"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}, use="bedrock") == []
    assert paid({"AWS_SECRET_ACCESS_KEY": "s"}, use="bedrock") == []


def test_a_signature_knows_its_region_and_service() -> None:
    item = provider(use="sagemaker", endpoint="e", region="eu-west-1", api_key="AKIAIOSFODNN7EXAMPLE:s")
    (plan,) = p.credentials(item, p.load_preset("sagemaker"), {}, FOLDER)
    assert plan.region == "eu-west-1"
    assert isinstance(plan.auth, SigV4) and plan.auth.service == "sagemaker"


def test_a_service_account_is_json_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text('{"type": "service_account"}')
    settings = {"use": "vertex", "location": "l", "project": "p"}
    assert paid(api_key='{"a": 1}', **settings) == [({}, (), "gcp", '{"a": 1}')]
    assert paid({"GOOGLE_APPLICATION_CREDENTIALS": "account.json"}, tmp_path, **settings) == [
        ({}, (), "gcp", '{"type": "service_account"}')]  # fmt: skip
    assert paid({"GOOGLE_APPLICATION_CREDENTIALS": "gone.json"}, tmp_path, **settings) == []


def test_where_tokens_are_fetched_is_filled_in() -> None:
    item = provider(use="azure_openai", resource="r", entra_tenant="t-1", api_key="id:secret")
    (plan,) = p.credentials(item, p.load_preset("azure_openai"), {}, FOLDER)
    assert getattr(plan.auth, "token_url", "") == "https://login.microsoftonline.com/t-1/oauth2/v2.0/token"


def test_the_state_of_a_credential_is_told_without_a_letter_of_it() -> None:
    item = provider(api_key="sk-secret")
    preset = p.load_preset("openai")
    (plan,) = p.credentials(item, preset, {}, FOLDER)
    assert p.describe_credential(plan, item, preset) == plan.id
    assert p.describe_credential(None, item, preset) == "none: set OPENAI_API_KEY"
    assert p.describe_credential(None, item, p.load_preset("openai_compatible")) == "none wanted"
    account = p.credentials(provider(use="vertex", api_key="{}"), p.load_preset("vertex"), {}, FOLDER)[0]
    assert p.describe_credential(account, item, preset) == f"{account.id}, signs with gcp"
    assert "sk-secret" not in repr(item)
