"""What the demo shows: plain ASCII, a hundred columns, colours only on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import JustifyMethod

    from demo_stage.client import Answer, Held, Step

#: Nothing but a line below the heading, in characters that every terminal has.
_BOX = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_WIDTH = 100
#: The columns of the requests, with their widths; with the gaps they make a hundred.
_COLUMNS = {"#": 2, "sent": 41, "worker": 6, "expected": 8, "got": 27, "from": 5, "ms": 5}
_GOT = _COLUMNS["got"]


class Screen:
    """Prints the story as it happens and counts what was not as it should be."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=False)
        self._console.width = _WIDTH
        self.rows = 0
        self.wrong: list[str] = []

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line as it is, however long: it may be meant to be copied."""
        self._console.print(Text(text, style), soft_wrap=True)

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self.say()
        self.say(title, "bold")

    def table(self, rows: Sequence[tuple[Step, Answer]]) -> None:
        """Show requests with their answers."""
        # The heading once: further tables stand below each other like one.
        table = Table(box=_BOX, padding=0, pad_edge=False, show_edge=False, header_style="dim")
        table.show_header = self.rows == 0
        for name, width in _COLUMNS.items():
            justify: JustifyMethod = "right" if name in ("#", "ms") else "left"
            table.add_column(name, width=width, justify=justify, no_wrap=True, overflow="crop")
        for step, answer in rows:
            self.rows += 1
            fits = answer.fits(step)
            if not fits:
                self.wrong.append(f"row {self.rows} ({step.words}): expected {step.expected}")
            got = Text(f"{answer.status} {answer.code}", "green" if fits else "bold red")
            got.append(f"\n{_shorten(answer.words)}", "dim" if fits else "red")
            if not fits:
                got.append("\n<-- WRONG", "bold red")
            sent = Text(step.words).append(f"\nGET {step.path}", "dim")
            table.add_row(
                str(self.rows),
                sent,
                str(step.worker),
                str(step.status),
                got,
                answer.source,
                f"{answer.milliseconds:.1f}",
            )
        self._console.print(table)

    def held(self, call: str, held: Held) -> None:
        """Show how fast a change held."""
        bound = held.propagation.bound.total_seconds()
        if not held.in_time:
            self.wrong.append(f"{call} was to hold within {bound:g} s")
        first, second = held.workers
        self.say(f"   {call}  (returned after {held.call:.1f} ms)")
        text = f"   refused by worker 1 after {first:.1f} ms, by worker 2 after {second:.1f} ms"
        self.say(f"{text}; promised: {bound:g} s at the most", "green" if held.in_time else "red")

    def figures(self, workers: Mapping[str, Mapping[str, int]]) -> None:
        """Show the cache figures, a worker a line."""
        table = Table(
            box=_BOX, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="dim"
        )
        table.add_column("")
        for counter in next(iter(workers.values())):
            # One word a line, so that all of them fit beside each other.
            heading = counter.replace("l1_", "L1_").replace("l2_", "L2_").replace("_", "\n")
            table.add_column(heading, justify="right", vertical="bottom")
        for name, figures in workers.items():
            table.add_row(name, *(str(figure) for figure in figures.values()))
        self._console.print(table)


def _shorten(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _GOT else f"{words[: _GOT - 2].rstrip()}.."
