"""Control keeps every promise of the desk."""

from __future__ import annotations

import inspect

from tidegate.control.admin.desk import Desk
from tidegate.control.control import Control


def test_control_offers_what_the_routers_ask_for() -> None:
    promised = [name for name, each in vars(Desk).items() if inspect.isfunction(each) and not name.startswith("_")]
    assert sorted(promised) == ["live", "metrics_text", "readiness", "reload", "signing_keys", "status", "usage"]
    for name in promised:
        offered, asked = getattr(Control, name), getattr(Desk, name)
        assert list(inspect.signature(offered).parameters) == list(inspect.signature(asked).parameters)
        assert inspect.iscoroutinefunction(offered) is inspect.iscoroutinefunction(asked)
