#!/usr/bin/env python3
"""What snapshots cost: training stalled by them, and how fast they are written.

    bench/snapshot.py build/shoal [--repeats N] [--steps N] [--dir DIR]     (five minutes on two cores)

1. The quickstart's model, a snapshot every 100 steps, alone in one process: the share of wall time in
   which training waits for snapshots, beside training (snapshot.async) and without.
2. Shards of 82 M parameters (GPT-2's width, 6 layers), bytes a second without snapshot.async, against
   the same number of bytes written and flushed to the same disk by plain writes, one after the other in
   each repeat, each with nothing else on its way to the disk.

Prints medians over the repeats, and lowest and highest. Goals: at most 1 % with snapshot.async, at least
80 % of plain writes.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PART = 8 << 20


def train(shoal, out, sets):
    line = [shoal, "train", ROOT / "configs/quickstart.yaml", "--set", f"run.out={out}"]
    for item in sets:
        line += ["--set", item]
    began = time.monotonic()
    subprocess.run([*map(str, line)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, env={**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1",
                                                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
    seconds = time.monotonic() - began
    lines = (out / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(text) for text in lines]
    shutil.rmtree(out)
    return seconds, events


def plain_write(path, total):
    """Write and flush like any program: seconds."""
    part = os.urandom(PART)
    os.sync()
    began = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        for at in range(0, total, PART):
            file.write(part[:min(PART, total - at)])
        os.fsync(file.fileno())
    seconds = time.monotonic() - began
    path.unlink()
    return seconds


def stall(shoal, place, data, beside, steps):
    """Share of the time from the first judging to the end."""
    _, events = train(shoal, place / "stall", [*data, f"run.steps={steps}", "run.minutes=0",
                                               "evolution.judge=100", "snapshot.every=100",
                                               f"snapshot.async={beside}"])
    snapshots = [e for e in events if e["event"] == "snapshot"]
    # The last one is waited for in any case, there is nothing to train meanwhile.
    waited = sum(e["stall_s"] for e in snapshots[:-1])
    judged = [e["time"] for e in events if e["event"] == "judge"]
    return waited / (judged[-1] - judged[0])


def speed(shoal, place, data):
    """Bytes a second of one shard, and of plain writes."""
    os.sync()
    _, events = train(shoal, place / "speed", [
        *data, "run.steps=0", "model.width=768", "model.heads=12", "model.context=1024",
        "model.vocab=50257", "model.layers=6", "data.tokenizer=none", "population.experts=1",
        "evolution.preset=none", "evolution.recombine=false", "train.batch=1",
        "evolution.fitness_batches=1", "snapshot.async=false"])
    snapshot = [e for e in events if e["event"] == "snapshot"][-1]
    return (snapshot["bytes"] / snapshot["stall_s"],
            snapshot["bytes"] / plain_write(place / "plain", snapshot["bytes"]))


def show(name, values, scale, unit):
    values = [v * scale for v in values]
    print(f"{name:42} {statistics.median(values):8.2f} {unit}   "
          f"({min(values):.2f} to {max(values):.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shoal", type=pathlib.Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--dir", help="where to write (a temporary directory)")
    args = parser.parse_args()
    shoal = args.shoal.resolve()
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        place = pathlib.Path(name)
        text = b"".join(p.read_bytes() for p in sorted((ROOT / "src").rglob("*.c")))
        (place / "text").write_bytes(text)
        subprocess.run([shoal, "tokenize", "--tokenizer", "bytes", "--out", place / "data",
                        place / "text"], check=True, stdout=subprocess.DEVNULL)
        data = [f"data.train={place}/data/train_*.bin", f"data.val={place}/data/val_*.bin"]
        found = {"true": [], "false": []}
        for _ in range(args.repeats):
            for beside in found:
                os.sync()
                found[beside].append(stall(shoal, place, data, beside, args.steps))
        show("stalled, snapshot.async: true", found["true"], 100, "%")
        show("stalled, snapshot.async: false", found["false"], 100, "%")
        pairs = [speed(shoal, place, data) for _ in range(args.repeats)]
        show("shards of 82 M parameters", [p[0] for p in pairs], 1e-6, "MB/s")
        show("plain writes and a flush", [p[1] for p in pairs], 1e-6, "MB/s")
        show("the first of the second", [p[0] / p[1] for p in pairs], 100, "%")


if __name__ == "__main__":
    main()
