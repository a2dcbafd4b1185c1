"""Figures as Markdown: tables of a group of cells, and single values to stand within a sentence."""
from __future__ import annotations

from typing import Callable

import matrix
import summary
from summary import Results, Spread

DASH = "-"
MAIN_TEXT = "headers"
HEAD = ("| row | seeds | test loss | below best of N | gap closed | volume | what |\n"
        "|---|---|---|---|---|---|---|")


def number(value: Spread | None, digits: int = 4) -> str:
    """Mean, and after ± the standard deviation over seeds."""
    if value is None:
        return DASH
    if value.deviation is None:
        return f"{value.mean:.{digits}f}"
    return f"{value.mean:.{digits}f} ± {value.deviation:.{digits}f}"


def percent(value: Spread | None, digits: int = 0) -> str:
    if value is None:
        return DASH
    text = f"{100 * value.mean:.{digits}f}"
    if value.deviation is not None:
        text += f" ± {100 * value.deviation:.{digits}f}"
    return text + " %"


def volume(value: Spread | None) -> str:
    """Every seed sends the same."""
    return DASH if value is None else f"{100 * value.mean:.2g} %" if value.mean < 0.995 else "100 %"


def what(cell: matrix.Cell) -> str:
    return cell.note or ", ".join(f"`{key}: {value}`" for key, value in cell.changes())


def line(results: Results, cell: matrix.Cell) -> str:
    name = cell.name
    return (f"| `{name}` | {len(results[name])} | {number(summary.over_seeds(results, name, summary.test))} "
            f"| {number(summary.gain(results, name))} | {percent(summary.gap(results, name))} "
            f"| {volume(summary.share(results, name))} | {what(cell)} |")


def lone_line(results: Results) -> str:
    alone = summary.over_seeds(results, "none", summary.lone)
    return f"| one expert | {alone.count if alone else 0} | {number(alone)} | | 0 % | 0 % | mean of the four of `none` |"


def table(results: Results, group: str) -> str:
    """All cells of a group that have results."""
    cells = summary.groups(results).get(group, [])
    if not cells:
        return "Not run yet."
    first = [lone_line(results)] if group == "yardsticks" else []
    return "\n".join([HEAD, *first, *(line(results, cell) for cell in cells)])


VALUES: dict[str, Callable[[Results, str], str]] = {
    "test": lambda results, cell: number(summary.over_seeds(results, cell, summary.test)),
    "gap": lambda results, cell: percent(summary.gap(results, cell)),
    "gain": lambda results, cell: number(summary.gain(results, cell)),
    "volume": lambda results, cell: volume(summary.share(results, cell)),
    "lone": lambda results, cell: number(summary.over_seeds(results, cell, summary.lone)),
}


def value(texts: dict[str, Results], request: str) -> str:
    """What stands between a marker like `gap shoal-10` or `gap shoal-10 in TEXT` and its end."""
    kind, _, rest = request.partition(" ")
    cell, _, text = rest.partition(" in ")
    results = texts.get(text or MAIN_TEXT, {})
    if kind == "table":
        return "\n" + table(results, cell) + "\n"
    if kind not in VALUES:
        raise SystemExit(f"unknown marker '{request}'")
    return VALUES[kind](results, cell)
