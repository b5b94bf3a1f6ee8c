"""The way to an upstream: may we call (admission, breaker), whom (health, attempts), over what (pool, client)."""
