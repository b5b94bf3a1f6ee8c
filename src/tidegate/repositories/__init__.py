"""Context stores: one file each, chosen with ``repository: {use: ...}``; all keep ``ports/context_store``."""
