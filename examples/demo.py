"""The whole product at work, on real parts: `make demo`, or `make demo SERVE=1` to try it by hand.

Two uvicorn workers serve `starlette_endpoints.py` from one SQLite database, with a private Redis
where one is installed. Keys are issued, used, refused, rolled and revoked; each answer is compared
with what it should be, and any difference makes the exit status 1.
"""

from __future__ import annotations

import platform
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click
import uvicorn

import keymw
from demo_stage.client import L1, L2, NOWHERE, STORE, Step, Worker, hold
from demo_stage.screen import Screen
from demo_stage.servers import Servers, servers
from keymw import IssuedKey, KeyService, Propagation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIST = "/api/projects/2/endpoints"
RUN = "/api/projects/2/endpoints/revenue/run"
ELSEWHERE = "/api/projects/3/endpoints/revenue/run"
#: A refusal is remembered until the next change to any key, and each is heard of twice.
REFUSED = (L1, STORE)


@dataclass(frozen=True)
class Tokens:
    """The keys of the story."""

    project: str = field(repr=False)
    personal: str = field(repr=False)
    other: str = field(repr=False)


def first_uses(tokens: Tokens, *, shared: bool) -> list[Step]:
    second = L2 if shared else STORE
    return [
        Step("project key, on its route", 1, RUN, tokens.project, 200, (STORE,)),
        Step("the same, in the second worker", 2, RUN, tokens.project, 200, (second,)),
        Step("the same, once more", 1, RUN, tokens.project, 200, (L1,)),
    ]


def refusals(tokens: Tokens) -> list[Step]:
    garbage = tokens.project[:-1] + ("A" if tokens.project[-1] != "A" else "B")
    kind = "This endpoint does not support project secret API keys."
    scope = "API key missing required scope 'endpoint:read'."
    project = "API key does not have access to the requested project."
    missing = "Authentication credentials were not provided."
    return [
        Step("project key, where only people may go", 1, LIST, tokens.project, 403, (L1,), kind),
        Step("project key without the scope", 1, RUN, tokens.other, 403, (STORE,), scope),
        Step("project key, on another project", 1, ELSEWHERE, tokens.project, 403, (L1,), project),
        Step("garbage: last letter changed", 1, RUN, garbage, 401, (NOWHERE,), "The API key is"),
        Step("no key", 1, RUN, None, 401, (NOWHERE,), missing),
    ]


def people(tokens: Tokens) -> list[Step]:
    return [Step("personal key, where people may go", 1, LIST, tokens.personal, 200, (STORE,))]


def after_leaving(tokens: Tokens) -> list[Step]:
    gone = "The API key is invalid: its owner is no longer active."
    return [
        Step("the employee's personal key", 2, LIST, tokens.personal, 401, REFUSED, gone),
        Step("the project key they made", 2, RUN, tokens.project, 200, (L1,)),
    ]


def after_rolling(tokens: Tokens, new: str) -> list[Step]:
    rolled = "The API key has been rolled"
    return [
        Step("the old secret", 2, RUN, tokens.project, 401, REFUSED, rolled),
        Step("the new secret", 2, RUN, new, 200, (STORE,)),
    ]


def after_revoking(new: str) -> list[Step]:
    revoked = "The API key has been revoked."
    return [Step("the revoked key", 2, RUN, new, 401, REFUSED, revoked)]


class Demo:
    """Two workers, one database, and the service by which the keys are changed."""

    def __init__(self, keys: KeyService, workers: Sequence[Worker], screen: Screen) -> None:
        self.keys = keys
        self.workers = workers
        self.screen = screen

    def show(self, steps: Sequence[Step]) -> None:
        """Send the requests, and show what came of them."""
        asked = [(step, self.workers[step.worker - 1].ask(step.path, step.token)) for step in steps]
        self.screen.table(asked)

    def play(self, *, shared: bool) -> None:
        """Tell the whole story."""
        screen, keys = self.screen, self.keys
        project = keys.issue_project_key("2", "nightly-report", ["endpoint:read"], actor="user-7")
        personal = keys.issue_personal_key("user-7", "laptop", ["endpoint:write"], actor="user-7")
        other = keys.issue_project_key("2", "dashboards", ["dashboard:read"], actor="user-7")
        tokens = Tokens(project.token, personal.token, other.token)

        screen.chapter("A project key opens the route that takes project keys")
        self.show(first_uses(tokens, shared=shared))
        screen.chapter("What it does not open, and what is no key at all")
        self.show(refusals(tokens))
        screen.chapter("A personal key is for people")
        self.show(people(tokens))

        screen.chapter(
            "The employee who created both keys leaves: theirs dies, the project's lives"
        )
        self.change('deactivate_user("user-7")', LIST, tokens.personal, self.leave)
        self.show(after_leaving(tokens))

        screen.chapter("The project key is rolled: a new secret, the same key")
        new = self.roll(project)
        self.show(after_rolling(tokens, new))

        screen.chapter("The project key is revoked")
        self.change("revoke(key)", RUN, new, lambda: keys.revoke(project.key.id, actor="user-8"))
        self.show(after_revoking(new))

        screen.chapter("Cache figures of both workers, the polling in between included")
        screen.figures({f"worker {n}": w.figures() for n, w in enumerate(self.workers, 1)})

    def leave(self) -> Propagation:
        """Let the employee go."""
        return self.keys.deactivate_user("user-7", actor="user-8")

    def roll(self, issued: IssuedKey) -> str:
        """Roll a key; return its new secret."""
        rolled: list[IssuedKey] = []

        def change() -> Propagation:
            rolled.append(self.keys.roll(issued.key.id, actor="user-8"))
            assert rolled[0].propagation is not None
            return rolled[0].propagation

        self.change("roll(key)", RUN, issued.token, change)
        return rolled[0].token

    def change(self, call: str, path: str, token: str, change: Callable[[], Propagation]) -> None:
        """Make a change that ends a token, and show when the workers refuse it."""
        self.screen.held(call, hold(self.workers, path, token, change))

    def invite(self, place: Servers, redis: str | None, *, serve: bool) -> None:
        """Show what to try by hand, with keys that are good as long as the demo serves."""
        project = self.keys.issue_project_key("2", "by-hand", ["endpoint:read"])
        personal = self.keys.issue_personal_key("user-8", "by-hand", ["endpoint:write"])
        title = "Try it by hand" if serve else "To try it by hand, make demo SERVE=1 stays up for"
        self.screen.chapter(f"{title}:")
        first, second = (worker.url for worker in self.workers)
        for line in (
            f"W1={first} W2={second}",
            f"PROJECT={project.token}",
            f"PERSONAL={personal.token}",
        ):
            self.screen.say(line)
        for bearer, target, comment in (
            ("$PROJECT", f"$W1{RUN}", "200"),
            ("$PROJECT", f"$W1{LIST}", "403: not for machines"),
            ("$PERSONAL", f"$W2{LIST}", "200"),
            (None, f"$W2{RUN}", "401: no key"),
        ):
            header = "" if bearer is None else f'-H "Authorization: Bearer {bearer}" '
            self.screen.say(f"{f'curl -i {header}{target}':<87}  # {comment}")
        environment = f"KEYMW_DATABASE_URL={place.database}"
        if redis is not None:
            environment += f" KEYMW_REDIS_URL={redis}"
        # From the environment that the demo runs in: elsewhere `keymw` may be none or another one.
        self.screen.say(f"{environment} {sys.executable} -m keymw revoke {project.key.id}")


def run(screen: Screen, place: Servers, *, serve: bool) -> None:
    """Start everything, tell the story, and stay up if asked to."""
    redis, found = place.start_redis()
    with ExitStack() as stack:
        keys = stack.enter_context(KeyService(place.database, redis=redis))
        keys.migrate()
        urls = [place.start_worker(f"worker {number}", redis) for number in (1, 2)]
        workers = [stack.enter_context(Worker(url)) for url in urls]
        screen.say(f"keymw {keymw.__version__}: API keys for any ASGI or WSGI app", "bold")
        python = f"Python {platform.python_version()}, uvicorn {uvicorn.__version__}"
        screen.say(f"   workers    {urls[0]} and {urls[1]}  ({python})")
        screen.say("   store      SQLite, in a temporary folder")
        screen.say(f"   Redis      {found}")
        screen.say('   "from" is where a worker found the key, by its own counters: the store, L2')
        screen.say('   (Redis), L1 (its memory), or "-" where it did not have to look at all')
        demo = Demo(keys, workers, screen)
        demo.play(shared=redis is not None)
        if screen.wrong:
            return
        demo.invite(place, redis, serve=serve)
        screen.say()
        screen.say(f"All {screen.rows} requests were answered as they should be.", "bold green")
        if serve:
            screen.say("Serving until Ctrl-C.")
            stay(place)
            screen.say("Stopped.")


def stay(place: Servers) -> None:
    """Wait for Ctrl-C."""
    try:
        while True:
            place.check()
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass


@click.command()
@click.option("--serve", is_flag=True, help="Stay up until Ctrl-C, to be tried with curl.")
def main(*, serve: bool) -> None:
    """Show keymw at work, on real parts."""
    screen = Screen()
    with servers() as place:
        try:
            run(screen, place, serve=serve)
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, the servers may know why
            screen.wrong.append(f"{type(error).__name__}: {error}")
        if screen.wrong:
            screen.say()
            for wrong in screen.wrong:
                screen.say(f"WRONG: {wrong}", "bold red")
            screen.say(place.logs())
            raise SystemExit(1)


if __name__ == "__main__":
    main()
