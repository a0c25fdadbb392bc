"""keymw's pytest plugin: the fixtures of `keymw.testing`.

A package of its own, which imports keymw only when a fixture is used: pytest loads plugins before
anything else, and measuring the coverage of keymw, or of an app, begins after that.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keymw import AsyncKeyService, KeyService
    from keymw.principals import ServicePrincipal, UserPrincipal
    from keymw.testing import MovableClock


@pytest.fixture
def acting_as() -> Iterator[Callable[..., ServicePrincipal]]:
    """`acting_as(project, scopes)`: from then on, to the end of the test."""
    from keymw import testing  # noqa: PLC0415 - see above

    with ExitStack() as stack:

        def act(*args: Any, **options: Any) -> ServicePrincipal:
            return stack.enter_context(testing.acting_as(*args, **options))

        yield act


@pytest.fixture
def acting_as_user() -> Iterator[Callable[..., UserPrincipal]]:
    """`acting_as_user(user, scopes)`: from then on, to the end of the test."""
    from keymw import testing  # noqa: PLC0415

    with ExitStack() as stack:

        def act(*args: Any, **options: Any) -> UserPrincipal:
            return stack.enter_context(testing.acting_as_user(*args, **options))

        yield act


@pytest.fixture
def keymw_clock() -> MovableClock:
    """The clock of `keymw_service` and `keymw_async_service`, which the test moves."""
    from keymw import testing  # noqa: PLC0415

    return testing.MovableClock()


@pytest.fixture
def keymw_service(keymw_clock: MovableClock) -> Iterator[KeyService]:
    """A `KeyService` in memory."""
    from keymw import testing  # noqa: PLC0415

    with testing.memory_service(clock=keymw_clock) as keys:
        yield keys


@pytest.fixture
def keymw_async_service(keymw_clock: MovableClock) -> AsyncKeyService:
    """An `AsyncKeyService` in memory. There is nothing to close: it has no connection or thread."""
    from keymw import testing  # noqa: PLC0415

    return testing.async_memory_service(clock=keymw_clock)
