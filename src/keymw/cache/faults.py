"""What keymw makes of the errors of Redis and of its client; nobody else looks into one."""

from __future__ import annotations

from dataclasses import dataclass

from redis.exceptions import ResponseError

#: The oldest Redis that keymw works with: the first to know `HELLO`, which redis-py opens every
#: connection with. Scripts and streams, all else that keymw needs, are older than that.
OLDEST = "6.0"

_PERMISSIONS = (
    "ACL SETUSER its user with +client|setname +select +mget +eval +get +set +del +xadd +xread "
    "+xrevrange and the keys ~keymw:*, or those of redis_prefix."
)
_ROOM = "raise its maxmemory, or let it evict with maxmemory-policy allkeys-lru."
_OLD = f"keymw needs Redis {OLDEST} or newer."
_URL = "check its URL, and that Redis runs there."
_PRIMARY = "give the URL of the primary."
_SINGLE = "give the URL of a single Redis: keymw does not speak to a cluster."

#: By what Redis or its client says: what to do about it. What refuses the connection itself comes
#: first.
_OF_CONNECTIONS = (
    ("HELLO must be called", "put user and password into its URL: redis://user:password@host."),
    ("NOAUTH", "put user and password into its URL: redis://user:password@host."),
    ("WRONGPASS", "correct the user and the password in its URL."),
    ("invalid password", "correct the user and the password in its URL."),
    ("without any password configured", "its URL has a password, and Redis has none: correct it."),
    ("no password is set", "its URL has a password, and Redis has none: correct it."),
    ("unknown command `HELLO`", _OLD),
    ("unknown command 'HELLO'", _OLD),
    ("NOPROTO", _OLD),
    ("'client", _PERMISSIONS),
    ("'select", _PERMISSIONS),
    ("DB index is out of range", "correct the number of the database in its URL."),
    ("LOADING", "wait: it reads its data after a start."),
    ("max number of clients reached", "raise its maxclients, or find who keeps connections open."),
    ("protected mode", "set a password there, or have it listen on this network only."),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS: write redis:// instead of rediss://."),
    ("CERTIFICATE_VERIFY_FAILED", "give ssl_ca_certs in its URL."),
    ("Timeout", "see whether it hangs; raise redis_timeout if it is far away."),
    ("Error ", _URL),
)
_OF_COMMANDS = (
    ("NOPERM", _PERMISSIONS),
    ("ermission", _PERMISSIONS),
    ("READONLY", _PRIMARY),
    ("read only replica", _PRIMARY),
    ("MASTERDOWN", _PRIMARY),
    ("NOREPLICAS", "bring its replicas back, or lower min-replicas-to-write."),
    ("OOM", _ROOM),
    ("used memory", _ROOM),
    ("MISCONF", "make room on its disk, or see its log: it cannot save."),
    ("WRONGTYPE", "something else lies under a name of keymw: delete it, or set redis_prefix."),
    ("unknown command", _OLD),
    ("MOVED", _SINGLE),
    ("CROSSSLOT", _SINGLE),
    ("CLUSTERDOWN", _SINGLE),
    ("BUSY", "wait, or end the script that keeps it: SCRIPT KILL."),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """An error, as an operator needs it."""

    #: One line: what is wrong.
    text: str
    #: What to do about it; empty where that is not known.
    advice: str
    #: Whether nothing can be asked; else it is about one command, and Redis answers others.
    is_total: bool


def explain(error: Exception) -> Fault:
    """Return keymw's word for an error of Redis or of its client."""
    lines = str(error).strip().splitlines() or [""]
    code = getattr(error, "status_code", None)  # which redis-py has taken off the text
    text = " ".join(filter(None, (code, lines[0]))) or type(error).__name__
    total = next((advice for words, advice in _OF_CONNECTIONS if words in text), None)
    if total is not None or not isinstance(error, ResponseError):
        return Fault(text, total or "", is_total=True)
    advice = next((advice for words, advice in _OF_COMMANDS if words in text), "")
    return Fault(text, advice, is_total=False)
