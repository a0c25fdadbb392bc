"""A clock that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keymw.clock import SystemClock
from keymw.errors import InvalidInput


class MovableClock:
    """Both of keymw's clocks, which stand still until they are moved, together.

    Args:
        start: the time of day to begin at; now, by default.

    Raises:
        InvalidInput: the time has no time zone.
    """

    def __init__(self, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise InvalidInput("start", "give a time with its time zone.")
        self._start = (start or SystemClock().now()).astimezone(UTC)
        self._passed = timedelta(0)
        self._monotonic = SystemClock.monotonic()

    def __repr__(self) -> str:
        return f"<MovableClock at {self.now().isoformat()}>"

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return self._monotonic + self._passed.total_seconds()

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return self._start + self._passed

    def advance(self, by: float | timedelta) -> None:
        """Move on.

        Args:
            by: seconds, or a timedelta.

        Raises:
            InvalidInput: it is negative: time does not go back.
        """
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta(0):
            raise InvalidInput("by", "give a time that is not negative: clocks only go on.")
        self._passed += step
