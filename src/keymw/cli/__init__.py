"""The command line. Each command is one call of `KeyService`, and says what came of it.

A token is never an argument: arguments are seen by everybody on the machine and kept by shells.
"""

from keymw.cli import keys, leaks, people
from keymw.cli.program import cli

__all__ = ["cli", "keys", "leaks", "people"]
