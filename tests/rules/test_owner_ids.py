"""Ids that name their owner (LLM 7)."""

from __future__ import annotations

import pytest

from tidegate.exchange.fault import Fault
from tidegate.rules.owner_ids import owner_of, owners_in, tag_of, tagged, untagged, untagged_path

TAG = tag_of("openai", "acme")


def test_an_id_finds_its_owner_again() -> None:
    made = tagged({"id": "file-abc", "object": "file", "purpose": "batch"}, "files", TAG)
    assert made == {"id": f"file-{TAG}-file-abc", "object": "file", "purpose": "batch"}
    assert owner_of(made["id"], ["anthropic", "openai"], "acme") == "openai"
    assert owner_of("file-abc", ["openai"], "acme") == ""
    assert untagged_path(f"/file-{TAG}-file-abc/content") == "/file-abc/content"


@pytest.mark.parametrize(("providers", "tenant"), [(["anthropic"], "acme"), (["openai"], "other")])
def test_an_id_of_another_tenant_or_provider_is_not_found(providers: list[str], tenant: str) -> None:
    with pytest.raises(Fault, match="not_found"):
        owner_of(f"file-{TAG}-file-abc", providers, tenant)


def test_lists_batches_and_uploads_are_tagged_inside_too() -> None:
    batch = {"id": "batch_1", "object": "batch", "input_file_id": "file-1", "output_file_id": None}
    assert tagged({"data": [batch], "first_id": "batch_1"}, "batches", TAG) == {
        "data": [{**batch, "id": f"batch-{TAG}-batch_1", "input_file_id": f"file-{TAG}-file-1"}],
        "first_id": f"batch-{TAG}-batch_1",
    }
    upload = tagged({"id": "u1", "object": "upload", "file": {"id": "f1", "object": "file"}}, "uploads", TAG)
    assert (upload["id"], upload["file"]["id"]) == (f"upload-{TAG}-u1", f"file-{TAG}-f1")


def test_a_body_is_given_back_its_owners_ids() -> None:
    body = f'{{"input_file_id":"file-{TAG}-file-1","text":"see file-{TAG}-x"}}'.encode()
    assert owners_in(body) == {TAG}
    assert untagged(body) == f'{{"input_file_id":"file-1","text":"see file-{TAG}-x"}}'.encode()
    assert owners_in(b'{"text":"file-zzzz"}') == frozenset()
