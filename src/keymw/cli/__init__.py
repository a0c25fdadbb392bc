"""The command line. Each command is one call of `KeyService`, and says what came of it.

A token is never an argument: arguments are seen by everybody on the machine and kept by shells.
"""

from keymw.cli import importing, keys, leaks, people, routes
from keymw.cli.program import cli

__all__ = ["cli", "importing", "keys", "leaks", "people", "routes"]
