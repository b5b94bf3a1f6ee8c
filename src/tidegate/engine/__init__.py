"""The engine runs a Plan. Only ``downstream`` and ``upstream`` open sockets for traffic."""
