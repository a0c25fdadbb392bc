"""Write the tables of servers into the docs: `PYTHONPATH=tests python -m servers_matrix`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from servers_matrix.measured import measure_all
from servers_matrix.page import write


def main() -> int:
    """Measure all servers; return the status."""
    with tempfile.TemporaryDirectory(prefix="ks") as folder:
        measured = measure_all(Path(folder))
    write(measured)
    complaints = [line for result in measured.values() for line in result.complaints]
    print(*complaints, sep="\n", file=sys.stderr)  # noqa: T201
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
