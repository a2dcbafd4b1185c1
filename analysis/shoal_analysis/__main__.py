"""`python3 -m shoal_analysis`: what `shoal report` runs. Exit codes are shoal's: 2 arguments, 3 files."""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import tempfile
from typing import Dict, List, Union

from .errors import RunError
from .page import report
from .run import Run
from .tensorboard import export


def write_whole(path: pathlib.Path, text: str) -> None:
    """Under a temporary name, then renamed: the file appears whole or not at all."""
    handle, temporary = tempfile.mkstemp(prefix=f".tmp-{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def arguments(argv: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="shoal report", description="A page of plots of one run, or two compared.")
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--out", metavar="FILE")
    parser.add_argument("--tensorboard", metavar="DIR")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(argv)
    if len(given.runs) > 2:
        parser.error("at most two runs can be compared")
    return given


def work(given: argparse.Namespace) -> Dict[str, Union[str, int]]:
    """What was made."""
    runs = [Run(path) for path in given.runs]
    made: Dict[str, Union[str, int]] = {}
    if given.tensorboard:
        folders = [pathlib.Path(given.tensorboard, *([run.name] if len(runs) > 1 else [])) for run in runs]
        made.update(tensorboard=given.tensorboard, values=sum(export(r, f) for r, f in zip(runs, folders)))
    if given.out or not given.tensorboard:
        out = pathlib.Path(given.out or "report.html")
        write_whole(out, report(runs))
        made.update(report=str(out), bytes=out.stat().st_size)
    return made


def show(made: Dict[str, Union[str, int]]) -> None:
    if "tensorboard" in made:
        print(f"{made['values']:,} values for TensorBoard: tensorboard --logdir {made['tensorboard']}")
    if "report" in made:
        print(f"report: {made['report']} ({int(made['bytes']) / 1e6:.2f} MB)")


def main(argv: List[str]) -> int:
    given = arguments(argv)
    try:
        made = work(given)
    except RunError as error:
        print(f"shoal: error: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"shoal: error: {error.filename}: {error.strerror}; choose another place", file=sys.stderr)
        return 3
    if given.json:
        print(json.dumps(made))
    else:
        show(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
