"""Settings are text a person writes; a generation file must validate to the same values (ARCHITECTURE 11)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from tidegate.ports.settings import (
    Counting,
    Duration,
    Rate,
    Share,
    Size,
    Verifying,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    wait: Duration = 0.025
    life: Duration = 3600.0
    limit: Size = 64 * 1024
    rate: Rate = Rate(100, 1.0)
    share: Share = 50.0
    optional: Duration | None = None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("25ms", 0.025), ("1s", 1.0), ("1.5s", 1.5), ("5m", 300.0), ("1h", 3600.0), ("2d", 172_800.0),
     ("0s", 0.0), (3, 3.0), (0.25, 0.25)],
)  # fmt: skip
def test_a_duration_is_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "bad", ["", "5", "s", "-1s", "1 s", "1sec", "1h30m", "1e3s", "١s", "1s\n", -1, True, None, [], float("nan"),
            float("inf"), "9999999999h"]
)  # fmt: skip
def test_what_is_no_duration_is_refused(bad: object) -> None:
    with pytest.raises(ValueError):
        parse_duration(bad)


@given(st.floats(min_value=0.0, max_value=1e8).filter(lambda s: s == 0 or s > 1e-6).map(lambda s: round(s, 9)))
def test_every_duration_survives_its_text(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "500ms"), (30.0, "30s"), (90.0, "90s"), (120.0, "2m"), (7200.0, "2h"), (0.0, "0s"),
                          (0.0005, "0.0005s")]
)  # fmt: skip
def test_a_duration_is_written_in_the_largest_whole_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"), [("512B", 512), ("64KiB", 65_536), ("10MiB", 10_485_760), ("1GiB", 1 << 30), (7, 7), ("7", 7)]
)
def test_a_size_is_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("bad", ["", "KiB", "64KB", "64kib", "1.5KiB", "-1", -1, 1.0, True, None, "9999999TiB"])
def test_what_is_no_size_is_refused(bad: object) -> None:
    with pytest.raises(ValueError):
        parse_size(bad)


@given(st.integers(min_value=0, max_value=1 << 50))
def test_every_size_survives_its_text(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "rate"), [("100/s", Rate(100, 1.0)), ("600/m", Rate(600, 60.0)), ("200k/m", Rate(200_000, 60.0)),
                       ("2M/h", Rate(2_000_000, 3600.0)), ("5/10s", Rate(5, 10.0)), ("1/250ms", Rate(1, 0.25)),
                       ("1000/d", Rate(1000, 86_400.0))]
)  # fmt: skip
def test_a_rate_is_an_amount_per_seconds_and_survives_its_text(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize("bad", ["", "0/s", "100", "/s", "100/", "100/0s", "1.5/s", "-1/s", "100/year", 100, None])
def test_what_is_no_rate_is_refused(bad: object) -> None:
    with pytest.raises(ValueError):
        Rate.parse(bad)


def test_a_config_survives_the_generation_file_with_its_defaults_filled() -> None:
    config = Config(wait="75ms", limit="3MiB", rate="200k/m", optional="1m")  # type: ignore[arg-type]
    written = json.loads(json.dumps(config.model_dump(mode="json")))
    assert written == {
        "wait": "75ms", "life": "1h", "limit": "3MiB", "rate": "200000/m", "share": 50.0, "optional": "1m",
    }  # fmt: skip
    assert Config.model_validate(written) == config
    assert Config.model_validate(json.loads(Config().model_dump_json())) == Config()


def test_values_reach_parts_as_numbers() -> None:
    config = Config.model_validate({"wait": "1s", "limit": "1KiB", "rate": "10/m", "share": 12.5})
    assert (config.wait, config.limit, config.rate.amount, config.rate.per, config.share) == (1.0, 1024, 10, 60.0, 12.5)


def test_the_json_schema_says_how_each_type_is_written() -> None:
    fields = Config.model_json_schema()["properties"]
    assert fields["wait"]["examples"] == ["500ms", "1s", "5m", "1h"]
    assert [choice["type"] for choice in fields["limit"]["anyOf"]] == ["string", "integer"]
    assert (fields["rate"]["type"], fields["rate"]["default"]) == ("string", "100/s")
    assert fields["share"]["maximum"] == 100


def test_a_share_is_percent_from_0_to_100() -> None:
    for bad in (-1, 100.5, "nan"):
        with pytest.raises(ValidationError):
            Config(share=bad)  # type: ignore[arg-type]


def test_what_parts_share_is_strict_frozen_and_comes_after_their_own_settings() -> None:
    class Own(Verifying):
        realm: str = "here"

    class Limit(Counting):
        rate: Rate | None = None

    assert list(Own.model_json_schema()["properties"]) == ["realm", "optional", "forward_credentials", "failed_tries"]
    assert next(iter(Limit.model_json_schema()["properties"])) == "rate"
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Own.model_validate({"optionel": True})
    with pytest.raises(ValidationError, match="frozen"):
        Own().realm = "there"  # type: ignore[misc]


@pytest.mark.parametrize("by", ["", "user", "header:", "claim:"])
def test_s9_8_what_cannot_be_counted_by_is_refused(by: str) -> None:
    with pytest.raises(ValidationError, match="by is one of consumer, tenant, key, ip"):
        Counting(by=by)
