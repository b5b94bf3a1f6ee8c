"""The client's side: listening sockets, TLS, connections."""
