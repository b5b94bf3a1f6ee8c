"""Authorities of limits as a worker sees them: one file a choice. They keep leases and ask; others count."""
