from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.assembly.check import check
from tidegate.assembly.problems import ConfigError

HEAD = """\
listeners: [{address: 127.0.0.1:8080}]
providers:
  - {name: o, use: openai, api_key: sk-o}
models:
  - {name: fast, targets: [{provider: o, model: gpt-4o-mini}]}
  - {name: "gpt-*", targets: [{provider: o}]}
"""
TAIL = """\
routes:
  - {name: llm, match: {path: /v1}, llm: {}}
"""


def refusal(folder: Path, text: str, **environment: str) -> list[str]:
    file = folder / "gw.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        check(file, environment)
    return [str(problem) for problem in caught.value.problems]


def warnings(folder: Path, text: str, **environment: str) -> list[str]:
    file = folder / "gw.yaml"
    file.write_text(text)
    return [str(problem) for problem in check(file, environment).warnings]


def models(lines: str) -> str:
    return HEAD + lines + TAIL


def providers(line: str) -> str:
    return (HEAD + TAIL).replace("  - {name: o, use: openai, api_key: sk-o}\n", line)


def consumer(line: str, tenants: str = "") -> str:
    return HEAD + tenants + "consumers:\n" + line + TAIL


def test_a_good_config_of_models_has_nothing_to_say(tmp_path: Path) -> None:
    assert warnings(tmp_path, HEAD + TAIL) == []


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        # providers
        (providers("  - {name: o, use: opnai}\n"), [
            "gw.yaml:3: providers[0].use: there is no provider called opnai  fix: did you mean openai?"]),
        (providers("  - {name: o, use: vertex, location: eu}\n"), [
            "gw.yaml:3: providers[0].project: is missing: the provider vertex needs it  fix: add project: beside use:"
            " vertex"]),
        (providers("  - {name: o, use: openai, price: {inputs: 3}}\n"), [
            "gw.yaml:3: providers[0].price.inputs: must be one of input, output, cache_read, cache_write,"
            " cache_write_1h, thinking, audio_in, audio_out, image_in, image_out, characters, seconds_in, seconds_out,"
            " images, searches, pages, request"]),
        (providers("  - {name: o, use: openai, base_url: 'http://localhost:8080/v1'}\n"), [
            "gw.yaml:3: providers[0].base_url: this is a listener of this very gateway  fix: name the vendor behind it"
            " (S4.3)"]),
        (providers("  - {name: o, use: openai, price: fre}\n"), [
            "gw.yaml:3: providers[0].price: must be one of free"]),
        (providers("  - {name: o, use: openai}\n  - {name: o, use: anthropic}\n"), [
            "gw.yaml:4: providers[1].name: the name o is taken already  fix: give it another name"]),
        # models
        (models("  - {name: m, targets: [{provider: p}]}\n"), [
            "gw.yaml:7: models[2].targets[0].provider: there is no provider p  fix: known here: o"]),
        (models("  - {name: fast, targets: [{provider: o}]}\n"), [
            "gw.yaml:7: models[2].name: the name fast is taken already  fix: give it another name"]),
        (models("  - {name: m, targets: [{provider: o, weight: 0}]}\n"), [
            "gw.yaml:7: models[2].targets: every weight is 0, so nothing would ever be asked  fix: give one a weight"]),
        (models("  - {name: m, targets: [{provider: o}], strategy: {use: fastset}}\n"), [
            "gw.yaml:7: models[2].strategy.use: there is no strategy called fastset  fix: did you mean fastest?"]),
        (models("  - {name: m, targets: [{provider: o}], strategy: {use: weighted, stiky: user}}\n"), [
            "gw.yaml:7: models[2].strategy.stiky: is not known here  fix: did you mean sticky?"]),
        (models("  - {name: m, targets: [{provider: o}], shadow: x}\n"), [
            "gw.yaml:7: models[2].shadow: is not available in this version  fix: leave it out"]),
        # pipelines
        (models("  - {name: p, pipeline: [{step: a, model: 'gpt-*'}]}\n"), [
            "gw.yaml:7: models[2].pipeline[0].model: gpt-* is a pattern, and a pipeline asks concrete models  fix: name"
            " one of its models"]),
        (models("  - {name: p, pipeline: [{step: a, model: fst}]}\n"), [
            "gw.yaml:7: models[2].pipeline[0].model: there is no model fst  fix: did you mean fast?"]),
        (models("  - {name: p, pipeline: [{step: a}]}\n"), ["gw.yaml:7: models[2].pipeline[0].model: is missing"
                                                            "  fix: add it"]),
        (models("  - {name: p, pipeline: {parallel: [fast], quorum: 2}}\n"), [
            "gw.yaml:7: models[2].pipeline: quorum is above the number of models, so it could never be met"]),
        (models("  - {name: p, pipeline: [{step: a, model: fast}, {step: a, model: fast}]}\n"), [
            "gw.yaml:7: models[2].pipeline[1].step: the name a is taken already  fix: give it another name"]),
        (models("  - {name: p, pipeline: [{step: a, model: fast, input: {text: '{{ a.text }}'}}]}\n"), [
            "gw.yaml:7: models[2].pipeline[0].input.text: no earlier step is called a  fix: write {{ step.text }} of a"
            " step above"]),
        (models("  - {name: p, pipeline: [{step: a, model: fast, input: {text: '{{ a.json }}'}}]}\n"), [
            "gw.yaml:7: models[2].pipeline[0].input.text: holds {{ that is no {{ step.text }}  fix: write"
            " {{ step.text }}"]),
        (models("  - {name: p, pipeline: [{step: a, model: fast, stop_if: {text: OK}, then: b}]}\n"), [
            "gw.yaml:7: models[2].pipeline[0].then: no step up to here is called b  fix: known here: a"]),
        (models("  - {name: p, pipeline: [{step: a, model: fast, then: a}]}\n"), [
            "gw.yaml:7: models[2].pipeline[0].then: says what is answered when stop_if holds, and there is no"
            " stop_if"]),
        (models("  - {name: p, pipeline: {parallel: [p]}}\n"), [
            "gw.yaml:7: models[2].pipeline: the pipelines go in a circle: p > p  fix: let one of them ask a model with"
            " targets"]),
        (models("  - {name: p, pipeline: {parallel: [q]}}\n  - {name: q, pipeline: {parallel: [fast, p]}}\n"), [
            "gw.yaml:7: models[2].pipeline: the pipelines go in a circle: p > q > p  fix: let one of them ask a model"
            " with targets",
            "gw.yaml:8: models[3].pipeline: the pipelines go in a circle: q > p > q  fix: let one of them ask a model"
            " with targets"]),
        (models("  - {name: p, pipeline: {parallel: [q]}}\n  - {name: q, pipeline: {parallel: [r]}}\n"
                "  - {name: r, pipeline: {parallel: [fast]}}\n"), [
            "gw.yaml:7: models[2].pipeline: pipelines stand at most 2 deep within one another  fix: let its steps ask"
            " models with targets"]),
        (models("  - {name: p, pipeline: {route: {by: classifier, default: fast}}}\n"), [
            "gw.yaml:7: models[2].pipeline.route.model: is missing: the model that says which label fits  fix: name a"
            " small, quick one",
            "gw.yaml:7: models[2].pipeline.route.labels: is missing: which model each label means  fix: add labels:"
            " {code: MODEL, ...}"]),
        (models("  - {name: p, pipeline: {route: {by: rules, default: fast, rules: [{model: fast}]}}}\n"), [
            "gw.yaml:7: models[2].pipeline.route.rules[0]: holds always, so nothing behind it is ever looked at  fix:"
            " make its model the default"]),
        (models("  - {name: p, pipeline: {route: {by: rules, default: fast}}}\n"), [
            "gw.yaml:7: models[2].pipeline.route.rules: is missing  fix: add rules: [{task: code, model: MODEL}]"]),
        # callers
        (consumer("  - {name: c, models: [fst], aliases: {x: y}}\n"), [
            "gw.yaml:8: consumers[0].models[0]: no model is called fst  fix: did you mean fast?",
            "gw.yaml:8: consumers[0].aliases.x: there is no model y  fix: known here: fast"]),
        (consumer("  - {name: c, keys: [{key: key-one-1, name: k}, {key: key-two-2, name: k, models: [x]}]}\n"), [
            "gw.yaml:8: consumers[0].keys[1].name: the name k is taken already  fix: give every key of a consumer a"
            " name of its own",
            "gw.yaml:8: consumers[0].keys[1].models[0]: no model is called x  fix: known here: fast"]),
        (consumer("  - {name: c, keys: [{key: same-key-1}]}\n  - {name: d, keys: [same-key-1]}\n"), [
            "gw.yaml:9: consumers[1].keys[0]: the consumer c has this key already  fix: give every consumer a key of"
            " its own"]),
        (consumer("  - {name: c, keys: [short, {key: short}, {key: long-enough, colour: red}]}\n"), [
            "gw.yaml:8: consumers[0].keys[0]: string should have at least 8 characters",
            "gw.yaml:8: consumers[0].keys[1].key: string should have at least 8 characters",
            "gw.yaml:8: consumers[0].keys[2].colour: is not known here"]),
        (consumer("  - {name: c, tenant: t, team: bleu}\n", "tenants: [{name: t, teams: [{name: blue}]}]\n"), [
            "gw.yaml:9: consumers[0].team: the tenant t has no team bleu  fix: did you mean blue?"]),
        (consumer("  - {name: c, tenant: t, regions: [us]}\n", "tenants: [{name: t, regions: [eu]}]\n"), [
            "gw.yaml:9: consumers[0].regions: none of these is a region of the tenant t  fix: choose from eu"]),
        (consumer("  - {name: c}\n", "tenants: [{name: t, teams: [{name: a}, {name: a}]}]\n"), [
            "gw.yaml:7: tenants[0].teams[1].name: the name a is taken already  fix: give it another name"]),
        # routes
        (HEAD + TAIL.replace("llm: {}", "llm: {raw: x, provider: y}"), [
            "gw.yaml:8: routes[0].llm.raw: there is no provider x  fix: known here: o",
            "gw.yaml:8: routes[0].llm.provider: there is no provider y  fix: known here: o"]),
        (HEAD + TAIL.replace("llm: {}", "llm: {contexts: {policy: tight}}"), [
            "gw.yaml:8: routes[0].llm.contexts.policy: there is no context policy tight  "
            "fix: known here: agent-default chat-default verbatim"]),
        (HEAD + TAIL.replace("path: /v1}", "path: /v1, exact: true}"), [
            "gw.yaml:8: routes[0]: llm needs a match on a path prefix: what follows says which surface is meant"]),
        (HEAD + TAIL.replace("llm: {}", "respond: {}, timeouts: {first: 1s}"), [
            "gw.yaml:8: routes[0]: timeouts.first is for routes with llm; here, timeouts.request bounds the answer's"
            " head"]),
        ("listeners: [{address: 127.0.0.1:8080}]\n" + TAIL, [
            "gw.yaml:3: routes[0].llm: serves models, and there is none  fix: add models: with a name and its"
            " targets"]),
        (HEAD + "ledger: {authority: {use: redis}}\n" + TAIL, [
            "gw.yaml:7: ledger.authority.use: must be one of local"]),
    ],
)  # fmt: skip
def test_every_mistake_is_said_with_its_place_and_remedy(tmp_path: Path, text: str, problems: list[str]) -> None:
    assert refusal(tmp_path, text) == problems


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (providers("  - {name: o, use: openai}\n"), [
            "gw.yaml:3: providers[0].api_key: the provider o has no credential, so nothing is sent to it  fix: set"
            " OPENAI_API_KEY"]),
        (providers("  - {name: o, use: vertex, location: l, project: p, price: free, api_key: gone.json}\n"), [
            "gw.yaml:3: providers[0].api_key: the service account of o cannot be read, so nothing is sent to it  fix:"
            " name its JSON file, or give its JSON"]),
        (providers("  - {name: o, use: openai, api_key: x, verify: false}\n"), [
            "gw.yaml:3: providers[0].verify: any certificate is accepted  fix: name its CA in ca"]),
        (providers("  - {name: o, use: openai, api_key: x, base_url: 'http://127.0.0.1:9'}\n"), [
            "gw.yaml:3: providers[0].base_url: has no path, and servers of this kind are at /v1 as a rule  fix: add /v1"
            ]),
        (models("  - {name: m, targets: [{provider: o, model: no-such-model}]}\n"), [
            "gw.yaml:7: models[2].targets[0]: no price of no-such-model at o is known, so it is left out  fix: add"
            " price: {input: USD, output: USD} per million tokens, or price: free"]),
        (HEAD, ["gw.yaml:4: models: no route serves models  fix: add a route with llm: {}"]),
    ],
)  # fmt: skip
def test_what_was_probably_not_meant_is_said(tmp_path: Path, text: str, told: list[str]) -> None:
    assert warnings(tmp_path, text) == told


def test_the_environment_may_hold_the_key(tmp_path: Path) -> None:
    assert warnings(tmp_path, providers("  - {name: o, use: openai}\n"), OPENAI_API_KEY="sk-env") == []


def test_names_that_a_pattern_serves_are_names(tmp_path: Path) -> None:
    text = models("  - {name: p, pipeline: {parallel: [gpt-4o, fast]}}\n") + (
        "consumers:\n  - {name: c, models: [gpt-4o, 'gpt-4*', 'f*', p, 'o/anything'], aliases: {x: gpt-4.1}}\n"
    )
    assert warnings(tmp_path, text) == []
