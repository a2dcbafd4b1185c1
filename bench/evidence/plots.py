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


def cadence(results: Results, path: pathlib.Path) -> None:
    """Loss against volume, one line for the default, a point for each preset."""
    figure, axes = plt.subplots(figsize=(6.4, 3.8))
    points = []
    for every in matrix.CADENCES:
        x = summary.share(results, f"shoal-{every}")
        y = summary.over_seeds(results, f"shoal-{every}", summary.test)
        if x and y:
            points.append((100 * x.mean, y.mean, y.deviation or 0))
            axes.annotate(str(every), points[-1][:2], xytext=(4, 5), textcoords="offset points")
    axes.errorbar(*zip(*points), marker="o", capsize=3, label="shoal, every 100 to 1")
    for preset in ("eoe", "koifish", "copy", "tournament", "diloco"):
        x, y = summary.share(results, preset), summary.over_seeds(results, preset, summary.test)
        if x and y:
            axes.errorbar([100 * x.mean], [y.mean], [y.deviation or 0], marker="s", capsize=3, ls="",
                          label=preset)
    for name, value, style in (("one expert", summary.over_seeds(results, "none", summary.lone), ":"),
                               ("best of 4", summary.over_seeds(results, "none", summary.test), "--"),
                               ("data parallel", summary.over_seeds(results, "parallel", summary.test), "-")):
        if value:
            axes.axhline(value.mean, color="gray", ls=style, lw=1, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("bytes sent, as a share of data parallel's (%)")
    axes.set_ylabel(LOSS)
    axes.legend(fontsize=7, ncol=2)
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
