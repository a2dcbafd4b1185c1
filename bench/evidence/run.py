#!/usr/bin/env python3
"""Which rule makes the best expert better? Runs the comparison of matrix.py, one process a run.

  run.py [--only PATTERN]... [--list] [--jobs N] [--text FILE] [--results DIR] [--seeds N]
         [--shoal build/shoal] [--set KEY=VALUE]... [--again]

Runs whose result is in DIR are not repeated, so it may be stopped at any time and continued. PATTERN is
matched against a cell's name and its group, as a shell would (--only 'shoal-*'). Without FILE the text
is the C headers that ./quickstart learns from. summarise.py makes the tables of docs/EVIDENCE.md.
"""
from __future__ import annotations

import argparse
import concurrent.futures
import fnmatch
import pathlib
import sys
import time

import corpus
import matrix
import runs

Job = tuple[matrix.Cell, int]


def wanted(cells: list[matrix.Cell], patterns: list[str]) -> list[matrix.Cell]:
    found = [cell for cell in cells if not patterns or any(
        fnmatch.fnmatch(cell.name, p) or fnmatch.fnmatch(cell.group, p) for p in patterns)]
    if not found:
        sys.exit(f"no cell matches {', '.join(patterns)}; --list shows all")
    return found


def jobs_of(cells: list[matrix.Cell], seeds: int) -> list[Job]:
    """First seeds first, so that every row has something early."""
    return [(cell, seed) for seed in range(1, 10) for cell in cells if seed <= min(cell.seeds, seeds)]


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"


def describe(result: runs.Result) -> str:
    if result["status"] != "ok":
        return f"failed: {result['error']}"
    return f"test {result['test']:.4f}  fitness {result['fitness']:.4f}  in {result['seconds']:.0f} s"


def execute(setting: runs.Setting, todo: list[Job], workers: int) -> int:
    """Run them all, say how each went and how long the rest may take. Returns how many failed."""
    whole, done, failed, start = sum(cell.cost() for cell, _ in todo), 0.0, 0, time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(runs.run_cell, setting, cell, seed): (cell, seed) for cell, seed in todo}
        for future in concurrent.futures.as_completed(running):
            cell, seed = running[future]
            result = future.result()
            done += cell.cost()
            failed += result["status"] != "ok"
            left = (time.monotonic() - start) * (whole / done - 1)
            print(f"{cell.name} seed {seed}: {describe(result)}; about {clock(left)} left", flush=True)
    return failed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--list", action="store_true", help="show the cells and what is there")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path, default=runs.HERE / "results",
                        help="one folder for each text, one file for each run")
    parser.add_argument("--work", type=pathlib.Path, default=corpus.ROOT / "runs" / "evidence")
    parser.add_argument("--seeds", type=int, default=9, help="at most so many of each cell")
    parser.add_argument("--shoal", type=pathlib.Path, default=corpus.ROOT / "build" / "shoal")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--sequences", type=int, default=4000, help="windows of test text")
    parser.add_argument("--again", action="store_true", help="repeat runs whose result is there")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    cells = wanted(matrix.cells(), args.only)
    if not args.list and not args.shoal.is_file():
        sys.exit(f"{args.shoal} is not there: build it, or name another with --shoal")
    name = args.text.stem if args.text else "headers"
    data = args.work / "data" / name
    about = {} if args.list else corpus.prepare(data, args.text)
    setting = runs.Setting(args.shoal.resolve(), data, about, args.results / name, args.work, args.sequences,
                           tuple(args.overrides))
    jobs = jobs_of(cells, args.seeds)
    if args.list:
        for cell, seed in jobs:
            there = runs.result_path(setting, cell, seed).exists()
            print(f"{'done' if there else 'to do':6} {cell.group:20} {cell.name} seed {seed}")
        return
    todo = [j for j in jobs if args.again or not runs.result_path(setting, *j).exists()]
    print(f"{len(todo)} runs to do, {len(jobs) - len(todo)} done", flush=True)
    failed = execute(setting, todo, args.jobs)
    if failed:
        sys.exit(f"{failed} runs failed; their results say why")


if __name__ == "__main__":
    main()
