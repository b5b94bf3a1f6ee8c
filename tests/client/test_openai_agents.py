from __future__ import annotations

import pytest

from tidegate.client.openai_agents import session


def test_a_session_asks_the_gateway_with_the_consumers_key() -> None:
    pytest.importorskip("agents")
    made = session("http://127.0.0.1:8080/v1", "a-key", "conv_1")
    client = made._openai_client
    assert (str(client.base_url), client.api_key) == ("http://127.0.0.1:8080/v1/", "a-key")
    assert made.session_id == "conv_1"
