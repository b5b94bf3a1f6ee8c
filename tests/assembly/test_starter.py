from pathlib import Path

from tidegate.assembly.check import check
from tidegate.assembly.starter import STARTER


def test_the_starter_config_is_good_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "tidegate.yaml"
    path.write_text(STARTER)
    checked = check(path, {})
    assert checked.warnings == []
    assert [route.name for route in checked.built.plan.routes] == ["service", "hello"]


def test_its_commented_parts_are_good_too(tmp_path: Path) -> None:
    words = (
        "trusted_proxies:",
        "- {url",
        "health:",
        "consumers:",
        "  - name: mobile",
        "    keys:",
        "filters:",
        "  - {use",
    )
    lines = [
        line.replace("# ", "", 1) if line.lstrip().startswith(tuple(f"# {word}" for word in words)) else line
        for line in STARTER.splitlines()
    ]
    path = tmp_path / "tidegate.yaml"
    path.write_text("\n".join(lines))
    checked = check(path, {"MOBILE_KEY": "tg-mobile-key"})
    assert checked.config.consumers[0].keys == ("tg-mobile-key",)
    assert checked.built.plan.routes[0].filters == ("api_key", "rate_limit")
    assert checked.config.upstreams[0].health is not None and len(checked.config.upstreams[0].targets) == 2
    assert checked.config.trusted_proxies == ("10.0.0.0/8",)
