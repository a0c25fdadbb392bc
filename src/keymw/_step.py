"""Runs a coroutine whose ports never suspend, so that one flow serves blocking callers too."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
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


def blocking(
    operation: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """Return a method that blocks until the operation is done.

    It may be the method of another class than the operation's, with what that one uses.
    """

    def method(self: object, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_now(operation(self, *args, **kwargs))

    update_wrapper(method, operation)
    return method
