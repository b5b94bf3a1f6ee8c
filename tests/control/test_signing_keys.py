"""A pair for each key of a consumer, derived, never stored (LLM 2)."""

from __future__ import annotations

from pathlib import Path

from tidegate.control.data_folder import DataFolder
from tidegate.control.generations import Generations
from tidegate.control.signing_keys import pairs_of
from tidegate.rules.credentials import digest_of
from tidegate.rules.sigv4 import derived_secret

PEPPER = b"p" * 32
CONFIG = """
listeners: [{address: 127.0.0.1:8080}]
consumers:
  - {name: a, keys: [a-key-of-a-consumer, {key: another-key-of-it, name: ci}]}
  - {name: b, keys: [a-key-of-another-one]}
routes:
  - {name: hello, match: {path: /hello}, respond: {status: 204}}
"""


def test_each_key_has_the_pair_that_workers_will_know(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    (tmp_path / "c.yaml").write_text(CONFIG)
    generations = Generations(tmp_path / "c.yaml", {})
    generations.write(generations.check(), folder, PEPPER)
    first, second = digest_of(PEPPER, b"a-key-of-a-consumer"), digest_of(PEPPER, b"another-key-of-it")
    found = {pair.pop("key"): pair for pair in pairs_of(generations.content, "a", PEPPER) or []}
    assert found == {
        key: {"access_key_id": id, "secret_access_key": derived_secret(PEPPER, id)}
        for key, id in ((first.hex()[:8], f"cfg{first.hex()[:13]}"), ("ci", f"cfg{second.hex()[:13]}"))
    }
    assert pairs_of(generations.content, "nobody", PEPPER) is None
    for path in folder.path.rglob("*"):
        if path.is_file():
            assert not any(pair["secret_access_key"].encode() in path.read_bytes() for pair in found.values())
