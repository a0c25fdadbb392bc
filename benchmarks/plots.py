"""How all plots look: SVG, on a ground of their own, so that they read on a dark page too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

#: keymw's own colour, and those of the others, which are told apart without seeing red from green.
KEYMW = "#0b6e99"
OTHERS = ("#9aa5b1", "#c77d2e", "#6b4c9a", "#3f7f5f", "#b0395a", "#5c6670")

mpl.rcParams.update(
    {
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "white",
        "font.family": "sans-serif",
        "font.size": 10,
        "grid.alpha": 0.3,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "keymw",  # the same figures give the same file
    }
)


def figure(width: float = 8.0, height: float = 4.0) -> Figure:
    """Return an empty figure, its size in inches; `subplots` gives it axes."""
    return Figure(figsize=(width, height), layout="constrained")


def bars(axes: Axes, names: Sequence[str], values: Sequence[float], unit: str) -> None:
    """Draw bars that lie, one below the other, in their order, keymw's in its colour."""
    colours = [KEYMW if name.startswith("keymw") else OTHERS[0] for name in names]
    drawn = axes.barh(names, values, color=colours)
    axes.bar_label(drawn, [f"{value:,.2f}" for value in values], padding=3, fontsize=9)
    axes.set_xlabel(unit)
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    axes.margins(x=0.12)


def save(drawn: Figure, path: Path) -> None:
    """Write a figure as SVG."""
    drawn.savefig(path, format="svg", metadata={"Date": None})
