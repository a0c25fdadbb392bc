"""Write the table of frameworks into the docs: `PYTHONPATH=tests python -m frameworks`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tables


def main() -> int:
    """Try all frameworks; return pytest's status."""
    tests = Path(__file__).with_name("test_conformance.py")
    status = pytest.main(["-q", str(tests), "-k", "not docs"])
    from frameworks.test_conformance import PAGE

    (table,) = tables.added()
    tables.write(PAGE, "frameworks", table.header, table.rows)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
