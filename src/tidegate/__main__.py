"""The program's front door. What needs no machinery is answered before any is imported."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words in (["version"], ["--version"]):
        from tidegate import __version__

        print(f"tidegate {__version__}")
        return 0
    from tidegate.cli import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
