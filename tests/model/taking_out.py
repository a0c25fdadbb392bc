"""Takes a guard out of keymw's code, to show that a schedule then goes wrong."""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap


def take_out(monkeypatch, function, guard, instead=""):
    """Run a function, wherever it is used from now on, with a part of its text replaced.

    A guard that is not there, or is there twice, is an error: the code has changed.
    """
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(guard) == 1, f"{function.__qualname__} does not have {guard!r} once"
    code = compile(
        source.replace(guard, instead),
        inspect.getsourcefile(function),
        "exec",
        flags=__future__.annotations.compiler_flag,
    )
    made = {}
    exec(code, function.__globals__, made)
    found = False
    for owner, name in _places(function):
        monkeypatch.setattr(owner, name, made[function.__name__])
        found = True
    assert found


def _places(function):
    """Find where the function is: in modules, or in its class."""
    *path, name = function.__qualname__.split(".")
    module = sys.modules[function.__module__]
    if path:
        return [(getattr(module, path[0]), name)]
    return [
        (other, name)
        for other in list(sys.modules.values())
        if getattr(other, "__name__", "").split(".")[0] in {"keymw", "model"}
        and vars(other).get(name) is function
    ]
