"""Ways to choose an endpoint, one a file; built as ``Class(config, tools)`` once per upstream and Plan."""
