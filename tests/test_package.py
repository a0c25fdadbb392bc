"""What importing costs, which way imports run, and that nothing secret is ever shown."""

from __future__ import annotations

import ast
import gc
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import keymw
from keymw import KeyService
from keymw.tokens import digest, generate

SOURCE = Path(keymw.__file__).parent

#: From the bottom to the top; a module imports from its own layer and from those below it.
LAYERS = (
    (
        "errors",
        "principals",
        "model",
        "counters",
        "scopes",
        "tokens",
        "policy",
        "http",
        "settings",
        "inputs",
        "drafts",
        "importing",
        "import_checks",
    ),
    ("clock", "ports"),
    ("cache", "store"),
    ("flows",),
    (
        "_step",
        "watch",
        "outage",
        "opening",
        "processes",
        "core",
        "queries",
        "issuing",
        "operations",
        "service",
        "aio",
        "within",
    ),
    ("access", "twice", "rules", "integrations", "enforcing", "decorators", "routes"),
    ("asgi", "wsgi", "", "integrations.django", "integrations.rest_framework", "routes.django"),
    ("testing",),
    ("management",),
    ("console",),
    ("cli", "__main__"),
)
#: Who may read a clock: the clock, what bounds the wait for a database or for threads, and what
#: people start. Everything else is handed the time.
CLOCKS = {"clock", "store.deadline", "store.migrations.versions.0001_keys", "watch", "cli.common"}


def modules():
    # Greenlets that other tests have left must not end within `ast.parse`: CPython 3.11 takes that
    # for its own recursion gone wrong.
    gc.collect()
    for path in sorted(SOURCE.rglob("*.py")):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        yield ".".join(parts), ast.parse(path.read_text())


NAMES = {name for name, _ in modules()}


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def runtime_nodes(node):
    """Walk what runs, leaving out what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if not is_for_types(child):
            yield child
            yield from runtime_nodes(child)


def imports(tree):
    """Return the modules of keymw that a module imports, wherever in it."""
    found = set()
    for node in runtime_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner.removeprefix("keymw.") in NAMES
                found.add(inner if is_module else node.module)
    return {
        name.removeprefix("keymw").removeprefix(".")
        for name in found
        if name.split(".")[0] == "keymw"
    }


def layer(name):
    """Return the place of a module, which is that of the longest part of its name that has one."""
    places = {found: place for place, names in enumerate(LAYERS) for found in names}
    while name not in places:
        name = name[: name.rindex(".")]
    return places[name]


def test_imports_run_one_way():
    for name, tree in modules():
        for imported in imports(tree):
            if name:  # the package itself names its services, when they are asked for
                assert layer(imported) <= layer(name), f"{name} imports {imported}"


def test_imports_have_no_cycle():
    graph = {name: imports(tree) - {"", name} for name, tree in modules() if name}
    for package in ("integrations", "store", "cache"):
        # A package's own submodules are imported by name, in functions.
        graph[package] = {name for name in graph[package] if not name.startswith(f"{package}.")}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_the_pure_modules_do_no_io():
    allowed = {
        "__future__",
        "collections",
        "csv",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
    }
    allowed |= {"http", "json", "re", "secrets", "typing", "unicodedata", "uuid", "zlib", "keymw"}
    for name, tree in modules():
        if name in LAYERS[0]:
            for node in runtime_nodes(tree):
                roots = []
                if isinstance(node, ast.Import):
                    roots = [alias.name.split(".")[0] for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    roots = [node.module.split(".")[0]]
                assert set(roots) <= allowed, f"{name} imports {roots}"


def test_flows_import_no_asyncio_and_only_ports_read_a_clock():
    for name, tree in modules():
        text = ast.unparse(tree)
        if name.split(".")[0] == "flows":
            assert "asyncio" not in {
                alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.Import)
                for alias in node.names
            }
        reads = any(
            word in text
            for word in (
                "import time\n",
                "from time import",
                "datetime.now(",
                ".utcnow(",
                ".today(",
            )
        )
        assert not reads or name in CLOCKS, f"{name} reads a clock"


HEAVY = "sqlalchemy alembic psycopg redis cachetools asyncio"
HEAVY += " starlette werkzeug fastapi flask click rich"


@pytest.mark.parametrize(
    ("module", "may"),
    [
        ("keymw", ""),
        ("keymw.asgi", "asyncio"),
        ("keymw.wsgi", ""),
        ("keymw.decorators", ""),
        ("keymw.service", "cachetools"),
        ("keymw.aio", "cachetools asyncio"),
    ],
)
def test_importing_loads_nothing_heavy(module, may):
    code = f"import sys, {module}; print(*sorted(set({HEAVY.split()!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) <= set(may.split())


def test_what_an_url_needs_is_named_when_it_is_missing():
    code = "import sys; sys.modules['redis'] = None; import keymw; "
    code += "keymw.KeyService('sqlite://', redis=None); keymw.KeyService('sqlite://', redis='x')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.endswith('pip install "keymw[redis]"\n')


def test_what_is_public_is_there():
    assert sorted(keymw.__all__) == keymw.__all__
    for name in keymw.__all__:
        assert getattr(keymw, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = keymw.Nothing
    assert (SOURCE / "py.typed").exists()
    public = {
        *("KeyService", "AsyncKeyService", "Settings", "ScopeCatalog", "KeyKind"),
        *("ServicePrincipal", "UserPrincipal", "AnonymousPrincipal", "Granted", "Denied"),
        *("Reason", "require_scopes", "current_principal"),
    }
    assert public <= set(keymw.__all__)


def test_no_secret_is_ever_shown(keys, caplog):
    caplog.set_level(0)
    issued = keys.issue_project_key("2", "deploy", ["endpoint:read"], actor="ann")
    rolled = keys.roll(issued.key.id)
    shown = [issued, rolled, issued.key, keys, keys.get(issued.key.id), keys.list(), keys.history()]
    shown += [keys.verify(token) for token in (issued.token, rolled.token, generate("pha_"))]
    for error in (
        lambda: keys.import_key(
            "project_secret", digest(rolled.token.encode()).hex(), "x", [], project_id="2"
        ),
        lambda: keys.import_key("project_secret", rolled.token, "x", [], project_id="2"),
        lambda: keys.issue_project_key("2", "deploy", ["other:read"]),
    ):
        with pytest.raises(keymw.KeymwError) as caught:
            error()
        shown.append(caught.value)
    text = "\n".join([*map(repr, shown), *map(str, shown), *caplog.messages])
    for token in (issued.token, rolled.token):
        assert token[5:] not in text
        assert digest(token.encode()).hex() not in text
        assert repr(digest(token.encode())) not in text


def test_a_database_password_is_never_shown(caplog):
    url = "postgresql://ann:hunter2@127.0.0.1:1/keymw?connect_timeout=1"
    with KeyService(url) as keys:
        with pytest.raises(keymw.StoreUnavailable) as caught:
            keys.list()
        assert keys.verify(generate("phs_")).reason is keymw.Reason.UNAVAILABLE
        shown = [repr(keys), str(caught.value), *caplog.messages]
        assert len(shown) >= 3
        assert "hunter2" not in "\n".join(shown)
    for wrong in ("mysql://ann:hunter2@host/x", "hunter2", "postgresql+asyncpg://u:hunter2@h/x"):
        with pytest.raises(ValueError, match="database: ") as refused:
            KeyService(wrong)
        assert "hunter2" not in str(refused.value)
