#!/usr/bin/env python3
"""Tables and plots from the results of run.py, and the figures in docs/EVIDENCE.md.

  summarise.py [--results DIR] [--document docs/EVIDENCE.md] [--check] [--print]

In the document, whatever stands between <!-- KIND CELL --> and <!-- end --> is replaced by what the
results say: a table of a group of cells, or one figure (test, lone, gain, gap, volume) within a sentence;
<!-- KIND CELL in TEXT --> is about another text than the C headers.
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


def fill(document: str, texts: dict[str, summary.Results]) -> str:
    """The document with every marked place filled anew."""
    def replacement(match: re.Match[str]) -> str:
        kind, what = match.group(1, 2)
        return f"<!-- {kind} {what} -->{tables.value(texts, f'{kind} {what}')}<!-- end -->"
    return MARKED.sub(replacement, document)


def show(texts: dict[str, summary.Results]) -> None:
    for text, results in texts.items():
        for group in summary.groups(results):
            print(f"\n{text}: {group}\n{tables.table(results, group)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--results", type=pathlib.Path, default=here / "results")
    parser.add_argument("--document", type=pathlib.Path, default=corpus.ROOT / "docs" / "EVIDENCE.md")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--print", action="store_true", dest="show")
    args = parser.parse_args()
    texts, failed = summary.load_all(args.results)
    for result in failed:
        print(f"failed: {result['cell']} seed {result['seed']}: {result['error']}", file=sys.stderr)
    if args.show:
        show(texts)
        return
    before = args.document.read_text()
    after = fill(before, texts)
    if args.check:
        sys.exit(f"{args.document} is not what the results say: run summarise.py" if before != after else 0)
    import plots  # Only here: checking needs no matplotlib.
    args.document.write_text(after)
    plots.draw(texts[tables.MAIN_TEXT], args.document.parent / "evidence")


if __name__ == "__main__":
    main()
