"""What one service counts in one process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What the flows count; L1 counts its own hits."""

    l2_hits: int = 0
    l2_errors: int = 0
    store_reads: int = 0
    store_answers: int = 0
    store_errors: int = 0
    invalidations: int = 0
