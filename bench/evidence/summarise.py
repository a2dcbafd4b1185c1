#!/usr/bin/env python3
"""Tables and plots from the results of run.py, and the figures in docs/EVIDENCE.md.

  summarise.py [--results DIR] [--document docs/EVIDENCE.md] [--check] [--print]

In the document, whatever stands between <!-- KIND CELL --> and <!-- end --> is replaced by what the
results say: a table of a group of cells, or one figure (test, lone, gain, gap, volume) within a sentence.
--check changes nothing and ends with 1 where the document says something else than the results.
--print shows all tables and touches no file.
"""
from __future__ import annotations

import argparse
import pathlib
import re
import sys

import corpus
import summary
import tables

MARKED = re.compile(r"<!-- (\w+) ([^>]*?) -->(.*?)<!-- end -->", re.DOTALL)


def fill(document: str, results: summary.Results) -> str:
    """The document with every marked place filled anew."""
    def replacement(match: re.Match[str]) -> str:
        kind, what = match.group(1, 2)
        return f"<!-- {kind} {what} -->{tables.value(results, f'{kind} {what}')}<!-- end -->"
    return MARKED.sub(replacement, document)


def show(results: summary.Results) -> None:
    for group in summary.groups(results):
        print(f"\n{group}\n{tables.table(results, group)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--results", type=pathlib.Path, default=here / "results" / "headers")
    parser.add_argument("--document", type=pathlib.Path, default=corpus.ROOT / "docs" / "EVIDENCE.md")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--print", action="store_true", dest="show")
    args = parser.parse_args()
    results, failed = summary.load(args.results)
    for result in failed:
        print(f"failed: {result['cell']} seed {result['seed']}: {result['error']}", file=sys.stderr)
    if args.show:
        show(results)
        return
    before = args.document.read_text()
    after = fill(before, results)
    if args.check:
        sys.exit(f"{args.document} is not what the results say: run summarise.py" if before != after else 0)
    import plots  # Only here: checking needs no matplotlib.
    args.document.write_text(after)
    plots.draw(results, args.document.parent / "evidence")


if __name__ == "__main__":
    main()
