"""The numbers behind a plot as CSV in a data: URI."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Iterable, List, Sequence, Union
from urllib.parse import quote

import numpy as np

Cell = Union[str, int, float]
LARGEST = 120_000   # characters of one table in the page; a longer one leaves rows out evenly


@dataclass
class Table:
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def _cell(value: Cell) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"' if any(s in value for s in ',"\n') else value
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return f"{float(value):.8g}" if math.isfinite(value) else ""


def csv_text(table: Table) -> "tuple[str, int]":
    """The text, and n where only every n-th row is in it (the last one always)."""
    lines = [",".join(_cell(c) for c in row) for row in table.rows]
    total = sum(len(line) + 1 for line in lines)
    nth = max(1, math.ceil(total / LARGEST))
    kept = lines[::nth]
    if nth > 1 and (len(lines) - 1) % nth:
        kept.append(lines[-1])
    return "\n".join([",".join(_cell(c) for c in table.columns)] + kept) + "\n", nth


def data_uri(text: str) -> str:
    return "data:text/csv;charset=utf-8," + quote(text, safe=",.-+:;()/_ ").replace(" ", "%20")


def rows_of(*columns: Iterable) -> List[Sequence[Cell]]:
    """Columns side by side."""
    return [tuple(row) for row in zip(*columns)]
