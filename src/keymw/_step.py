"""Runs a coroutine whose ports never suspend, so that one flow serves blocking callers too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the coroutine's result without an event loop.

    Raises:
        RuntimeError: it suspended, so one of its ports is an asynchronous one.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} suspended: a blocking service was given asynchronous ports.")
