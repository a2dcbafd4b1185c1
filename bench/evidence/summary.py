"""Figures of the results, and nothing about how they are shown.

Losses are in nats per token on the test text. With lone the mean of the independent experts of a seed and
parallel the data parallel run of that seed, the gap that a loss x closes is (lone - x) / (lone - parallel).
"""
from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
from typing import Any, Callable, Iterable

import matrix

Result = dict[str, Any]
Results = dict[str, dict[int, Result]]  # by cell's name and seed


@dataclasses.dataclass(frozen=True)
class Spread:
    """Of one figure over seeds. deviation: the sample's; None for one seed."""
    mean: float
    deviation: float | None
    count: int


def load(folder: pathlib.Path) -> tuple[Results, list[Result]]:
    """Of one text: results that ended well, and those that did not."""
    good: Results = {}
    bad = []
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        if result["status"] == "ok":
            good.setdefault(result["cell"], {})[result["seed"]] = result
        else:
            bad.append(result)
    return good, bad


def load_all(folder: pathlib.Path) -> tuple[dict[str, Results], list[Result]]:
    """Of every text, by its name."""
    texts, failed = {}, []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        texts[inner.name], bad = load(inner)
        failed += bad
    return texts, failed


def spread(values: Iterable[float]) -> Spread | None:
    found = list(values)
    if not found:
        return None
    deviation = statistics.stdev(found) if len(found) > 1 else None
    return Spread(statistics.fmean(found), deviation, len(found))


def over_seeds(results: Results, cell: str, figure: Callable[[Result], float | None]) -> Spread | None:
    found = (figure(result) for _, result in sorted(results.get(cell, {}).items()))
    return spread(value for value in found if value is not None)


def test(result: Result) -> float:
    return float(result["test"])


def lone(result: Result) -> float:
    """The mean of the experts of an independent run: what one expert reaches."""
    return statistics.fmean(result["test_of_experts"])


def suffix(experts: int) -> str:
    """Of the names of the yardsticks for so many experts."""
    return "" if experts == 4 else f"-of-{experts}"


def gap_of(results: Results, result: Result) -> float | None:
    """Share of the gap that the run closes; None where a yardstick of its seed is missing. The lone
    expert is that of the four, whatever the number of experts: one expert is one expert."""
    seed, experts = result["seed"], result["experts"]
    alone = results.get("none", {}).get(seed)
    parallel = results.get("parallel" + suffix(experts), {}).get(seed)
    if alone is None or parallel is None:
        return None
    return (lone(alone) - test(result)) / (lone(alone) - test(parallel))


def gap(results: Results, cell: str) -> Spread | None:
    return over_seeds(results, cell, lambda result: gap_of(results, result))


def gain_of(results: Results, result: Result) -> float | None:
    """Nats below the best of as many independent experts with the same seed."""
    best = results.get("none" + suffix(result["experts"]), {}).get(result["seed"])
    return None if best is None else test(best) - test(result)


def gain(results: Results, cell: str) -> Spread | None:
    return over_seeds(results, cell, lambda result: gain_of(results, result))


def share_of(result: Result) -> float | None:
    """Bytes sent as a share of data parallel's; None for one expert."""
    whole = result["volume"]["parallel_bytes"]
    return result["volume"]["bytes"] / whole if whole > 0 else None


def share(results: Results, cell: str) -> Spread | None:
    return over_seeds(results, cell, share_of)


def groups(results: Results) -> dict[str, list[matrix.Cell]]:
    """Cells that have results, by group, in the matrix's order."""
    found: dict[str, list[matrix.Cell]] = {}
    for cell in matrix.cells():
        if cell.name in results:
            found.setdefault(cell.group, []).append(cell)
    return found
