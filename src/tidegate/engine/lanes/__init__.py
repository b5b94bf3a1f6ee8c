"""Lanes: what may stand behind a route. One file each; a lane waits on behalf of an exchange."""
