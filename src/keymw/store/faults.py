"""What keymw makes of the drivers' errors; nobody else looks into one."""

from __future__ import annotations

from keymw.errors import NotMigrated, StoreUnavailable

#: SQLSTATE of an unknown table and of an unknown column.
_NO_TABLES = frozenset({"42P01", "42703"})
#: The same in SQLite's words.
_LACKS = ("no such table: keymw", "no such column: ", "has no column named ")

#: What to do about it, by what the driver says.
_ADVICE = (
    ("unable to open database file", "make its folder, and let this process write there."),
    ("readonly database", "let this process write to its file and its folder."),
    ("disk is full", "make room where its file is."),
    ("disk I/O error", "its disk fails, or is full: make room where its file is."),
    ("not a database", "its file is something else: correct the path."),
    ("malformed", "its file is damaged: restore it from a copy."),
    ("is locked", "another process kept its lock longer than store_timeout."),
    ("statement timeout", "a lock or slowness kept it longer than store_timeout."),
    ("QueuePool limit", "all connections are in use: raise store_connections."),
    ("password authentication failed", "correct the user and the password in its URL."),
    ("does not exist", "correct its URL, or create it."),
    ("invalid connection option", "correct its URL."),
    ("invalid port number", "correct its URL."),
    ("too many connections", "lower store_connections, or raise max_connections there."),
    ("remaining connection slots", "lower store_connections, or raise max_connections there."),
    ("permission denied for", "let its user read and write keymw's tables."),
    ("terminating connection", "it is being shut down: start it, or wait until it is back."),
    ("server closed the connection", "it has ended: start it, or wait until it is back."),
    ("connection is bad", "check its URL, and that PostgreSQL runs there."),
    ("failed to resolve host", "correct its URL."),
    ("connection failed", "check its URL, and that PostgreSQL runs there."),
    ("connection timeout expired", "check its URL, and that PostgreSQL runs there."),
)


def translate(error: Exception) -> StoreUnavailable:
    """Return keymw's word for a driver's error: one line, and what to do where that is known."""
    original = getattr(error, "orig", None)
    is_lacking = any(words in str(original) for words in _LACKS)
    if is_lacking or getattr(original, "sqlstate", None) in _NO_TABLES:
        return NotMigrated()
    lines = str(original or error).strip().splitlines() or [type(error).__name__]
    advice = next((f" - {advice}" for words, advice in _ADVICE if words in lines[0]), "")
    return StoreUnavailable(f"The database cannot answer: {lines[0]}{advice}")
