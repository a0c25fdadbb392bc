"""What keymw makes of the errors of Redis and of its client; nobody else looks into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The oldest Redis that keymw works with: the first to know `HELLO`, which redis-py opens every
#: connection with. Scripts and streams, all else that keymw needs, are older than that.
OLDEST = "6.0"

_PERMISSIONS = (
    "ACL SETUSER its user with +client|setname +select +mget +eval +get +set +del +xadd +xread "
    "+xrevrange and the keys ~keymw:*, or those of redis_prefix."
)
_OLD = f"keymw needs Redis {OLDEST} or newer."
_LOGIN = "put user and password into its URL: redis://user:password@host."
_CREDENTIALS = "correct the user and the password in its URL."
_PRIMARY = "give the URL of the primary."
_SINGLE = "give the URL of a single Redis: keymw does not speak to a cluster."

#: What to do about it, by what Redis or its client says. First what refuses the whole connection.
_OF_CONNECTIONS = (
    ("HELLO must be called", _LOGIN),
    ("Authentication required", _LOGIN),
    ("invalid username-password pair", _CREDENTIALS),
    ("invalid password", _CREDENTIALS),
    ("without any password configured", _CREDENTIALS),
    ("no password is set", _CREDENTIALS),
    ("unknown command `HELLO`", _OLD),
    ("unknown command 'HELLO'", _OLD),
    ("NOPROTO", _OLD),
    ("'client", _PERMISSIONS),
    ("'select", _PERMISSIONS),
    ("DB index is out of range", "correct the number of the database in its URL."),
    ("loading the dataset", "wait: it reads its data after a start."),
    ("max number of clients reached", "raise its maxclients, or find who keeps connections open."),
    ("protected mode", "set a password there, or have it listen on this machine only."),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS: write redis:// instead of rediss://."),
    ("CERTIFICATE_VERIFY_FAILED", "give ssl_ca_certs in its URL."),
    ("Permission denied", "let this process write to its socket."),
    ("Timeout", "see whether it hangs; raise redis_timeout if it is far away."),
    ("connecting to", "check its URL, and that Redis runs there."),
)
_OF_COMMANDS = (
    ("ermission", _PERMISSIONS),
    ("user executing the script can't", _PERMISSIONS),
    ("read only replica", _PRIMARY),
    ("Link with MASTER is down", _PRIMARY),
    ("NOREPLICAS", "bring its replicas back, or lower min-replicas-to-write."),
    ("used memory", "raise its maxmemory, or let it evict: maxmemory-policy allkeys-lru."),
    ("MISCONF", "it cannot save: make room on its disk."),
    ("wrong kind of value", "something else lies under a name of keymw's: set redis_prefix."),
    ("unknown command", _OLD),
    ("Unknown Redis command", _OLD),
    ("MOVED", _SINGLE),
    ("same slot", _SINGLE),
    ("CLUSTERDOWN", _SINGLE),
    ("BUSY", "wait, or end the script that keeps it: SCRIPT KILL."),
)
#: Longest text of Redis's own that is repeated.
_LONGEST = 200


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
    # A Redis that does not know a command repeats its arguments: those of a login are secret.
    said = str(error).partition(", with args")[0].partition(" script: ")[0]
    lines = said.strip().splitlines() or [""]
    code = getattr(error, "status_code", None)  # redis-py has taken it off the text
    text = " ".join(filter(None, (code, lines[0])))[:_LONGEST] or type(error).__name__
    total = _advice(_OF_CONNECTIONS, text)
    if total is None and isinstance(error, ResponseError):
        return Fault(text, _advice(_OF_COMMANDS, text) or "", is_total=False)
    return Fault(text, total or "", is_total=True)


def _advice(table: Sequence[tuple[str, str]], text: str) -> str | None:
    return next((advice for words, advice in table if words in text), None)
