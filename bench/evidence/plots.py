"""The plots of docs/EVIDENCE.md."""
from __future__ import annotations

import pathlib
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

import matrix
import summary
from summary import Results

matplotlib.use("svg")
# The same results give the same bytes.
matplotlib.rcParams.update({"svg.hashsalt": "shoal", "svg.fonttype": "none", "font.size": 9,
                            "axes.spines.top": False, "axes.spines.right": False})
LOSS = "loss on the test text (nats per token)"


def save(figure: Any, path: pathlib.Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def seeds_of(results: Results, cell: str, figure: Any) -> list[float]:
    found = [figure(result) for _, result in sorted(results.get(cell, {}).items())]
    return [value for value in found if value is not None]


# What is joined by a line in the plot of losses against volume: rows, and what stands at each.
LINES = {
    "shoal, every 100 to 1": {f"shoal-{every}": str(every) for every in matrix.CADENCES},
    "the same, learning rate 0.012": {f"shoal-{every}-lr-0.012": "" for every in (10, 5, 2)},
    "outer step 1.5": {f"outer-{every}-1.5": "" for every in (100, 50, 25)},
}
YARDSTICKS = {"one expert": ("none", summary.lone, ":"), "best of 4": ("none", summary.test, "--"),
              "data parallel": ("parallel", summary.test, "-")}


def point(results: Results, cell: str) -> tuple[float, float, float] | None:
    """Volume in %, loss and its deviation."""
    x, y = summary.share(results, cell), summary.over_seeds(results, cell, summary.test)
    return (100 * x.mean, y.mean, y.deviation or 0) if x and y else None


def cadence(results: Results, path: pathlib.Path) -> None:
    """Loss against volume: the default at several cadences, what was better, each preset."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    for name, cells in LINES.items():
        points = [p for p in (point(results, cell) for cell in cells) if p]
        if points:
            axes.errorbar(*zip(*points), marker="o", ms=4, capsize=3, label=name)
        for cell, label in cells.items():
            there = point(results, cell)
            if there and label:
                axes.annotate(label, there[:2], xytext=(4, 5), textcoords="offset points")
    for preset in ("eoe", "koifish", "copy", "tournament", "diloco"):
        there = point(results, preset)
        if there:
            axes.errorbar(*([value] for value in there), marker="s", ms=4, capsize=3, ls="", label=preset)
    for name, (cell, figure_of, style) in YARDSTICKS.items():
        value = summary.over_seeds(results, cell, figure_of)
        if value:
            axes.axhline(value.mean, color="gray", ls=style, lw=1, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("bytes sent, as a share of data parallel's (%)")
    axes.set_ylabel(LOSS)
    axes.legend(fontsize=7, ncol=2, loc="lower left")
    save(figure, path)


def population(results: Results, path: pathlib.Path) -> None:
    """Loss against the number of experts."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    lines = {"best of N": "none{}", "shoal, every 50": "shoal-50{}", "shoal, every 10": "shoal-10{}",
             "data parallel": "parallel{}"}
    for label, pattern in lines.items():
        found = [(n, summary.over_seeds(results, pattern.format(summary.suffix(n)), summary.test))
                 for n in (2, 4, 8, 16)]
        there = [(n, value) for n, value in found if value]
        axes.errorbar([n for n, _ in there], [v.mean for _, v in there],
                      [v.deviation or 0 for _, v in there], marker="o", capsize=3, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks([2, 4, 8, 16], labels=["2", "4", "8", "16"])
    axes.set_xlabel("experts")
    axes.set_ylabel(LOSS)
    axes.legend(fontsize=7)
    save(figure, path)


def rules(results: Results, path: pathlib.Path) -> None:
    """Gap closed by every rule at the same cadence, a dot for each seed."""
    chosen = [cell.name for group in ("presets", "operators of eoe", "variations of shoal")
              for cell in summary.groups(results).get(group, [])]
    rows = ["none", *(["shoal-50"] if "shoal-50" in results else []), *chosen]
    figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.2 * len(rows)))
    for at, row in enumerate(rows):
        gaps = [100 * g for g in seeds_of(results, row, lambda r: summary.gap_of(results, r))]
        axes.plot(gaps, [at] * len(gaps), "o", ms=4, color="tab:blue", alpha=0.7)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.axvline(0, color="gray", lw=1)
    axes.grid(axis="y", alpha=0.3)
    axes.set_xlabel("gap between one expert and data parallel that is closed (%)")
    save(figure, path)


def draw(results: Results, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cadence(results, folder / "cadence.svg")
    population(results, folder / "population.svg")
    rules(results, folder / "rules.svg")
