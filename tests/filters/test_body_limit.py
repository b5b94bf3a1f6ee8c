"""Body sizes (S3.3)."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import CHUNKED
from tidegate.filters.body_limit import BodyLimit, Config


def build(size: object = "1KiB") -> BodyLimit:
    return BodyLimit(Config.model_validate({"size": size}), FakeTools())


def test_the_builder_finds_the_limit_on_the_filter() -> None:
    assert build("64KiB").body_limit == 65536


def test_a_longer_body_is_refused_at_its_announced_length_and_the_connection_closed_s3_3() -> None:
    with pytest.raises(Fault) as refused:
        build().on_request_head(exchange("POST", body_length=1025))
    assert (refused.value.code, refused.value.status, refused.value.close) == ("body_too_large", 413, True)


@pytest.mark.parametrize("length", [0, 1, 1024, CHUNKED])
def test_other_bodies_pass_on_to_the_engine(length: int) -> None:
    assert build().on_request_head(exchange("POST", body_length=length)) is None


@pytest.mark.parametrize("size", [-1, "1KB", None, True])
def test_a_size_is_written_as_sizes_are(size: object) -> None:
    with pytest.raises(ValidationError):
        build(size)
