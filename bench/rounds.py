#!/usr/bin/env python3
"""What rounds cost: two workers of one thread each, with and without a delay, side by side.

usage: rounds.py [--shoal FILE] [--mpiexec FILE] [--rounds N] [--steps N] [--only NAME]... [--out FILE]

Every case is run in turn, N times over; the figures are medians with the lowest and the highest. A
round costs what it kept worker 0 from training, evolution included (metrics.jsonl, "stall_s"), a
judging its "seconds"; shares are of the time between two of them at the cadence of the case. Bytes are
those the workers counted on the wire; data parallel's are an all-reduce of every gradient in every step.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKERS = 2
COMMON = {"snapshot.every": 0, "run.minutes": 0, "run.log": 1000, "threads": 1}
# A step of the released shape, 80 sequences of 1024 tokens, would take minutes here; judgings come
# more often than by default, so that there are some.
SMALL = {"data.tokenizer": "none", "model.context": 256, "train.batch": 4, "train.micro_batch": 4,
         "evolution.judge": 20, "evolution.fitness_batches": 4}
SHAPES = {  # name: configuration, further options, steps, steps between judgings that are paid for
    "quickstart": ("quickstart.yaml", {}, 800, 200),
    "gpt2-124m-2x6": ("gpt2-124m-2x6.yaml", SMALL, 40, 100),
}
CADENCES = {
    "delay 0": {"evolution.delay": 0},
    "delay 1": {"evolution.delay": 1},
    "auto": {"evolution.every": "auto"},
    "auto, delay 1": {"evolution.every": "auto", "evolution.delay": 1},
    "every 100": {"evolution.every": 100},
}
ONLY_SHORT = ("auto", "auto, delay 1", "every 100")  # they need more steps than a large model's few


def cases(shapes):
    return [(s, c) for s in shapes for c in CADENCES
            if s == "quickstart" or c not in ONLY_SHORT]


def shards(folder, vocabulary, tokens):
    """Token shards of numbers drawn with a fixed seed: what is learned does not matter here."""
    import array
    import random
    draw = random.Random(1)
    for name, count in (("train", tokens), ("val", tokens // 4)):
        header = array.array("i", [20240520, 1, count] + [0] * 253)
        body = array.array("H", (draw.randrange(vocabulary) for _ in range(count)))
        (folder / f"{name}_0.bin").write_bytes(header.tobytes() + body.tobytes())


def environment():
    return {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
            "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_btl": "self,vader",
            "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}


def run(options, case, folder, data):
    """One run; its figures."""
    shape, cadence = case
    config, more, steps, judge = SHAPES[shape]
    steps = options.steps or steps
    out = folder / f"{shape}-{cadence}".replace(" ", "-").replace(",", "")
    settings = {**COMMON, **more, **CADENCES[cadence], "run.steps": steps, "run.out": out,
                "data.train": f"{data}/train_*.bin", "data.val": f"{data}/val_*.bin"}
    line = [options.mpiexec, "-n", str(WORKERS + 1), options.shoal, "train", ROOT / "configs" / config]
    for key, value in settings.items():
        line += ["--set", f"{key}={value}"]
    subprocess.run(line, env=environment(), check=True, stdout=subprocess.DEVNULL)
    events = [json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines()]
    return figures(events, judge)


def figures(events, judge):
    """Of everything after the first judging, or after the one at which a cadence was chosen."""
    start = next(e for e in events if e["event"] == "start")
    judgings = [e for e in events if e["event"] == "judge"]
    chosen = [e["step"] for e in events if e["event"] == "cadence"]
    first, last = next(e for e in judgings if not chosen or e["step"] == chosen[0]), judgings[-1]
    rounds = [e for e in events if e["event"] == "round" and first["step"] <= e["step"] < last["step"]]
    later = judgings[judgings.index(first) + 1:]
    steps = last["step"] - first["step"]
    every = rounds[1]["step"] - rounds[0]["step"] if len(rounds) > 1 else steps // len(later)
    # What a judging brings along is not a round's.
    plain = [e for e in rounds if e["step"] not in {j["step"] for j in judgings}] or rounds
    stall_s = statistics.median(e["stall_s"] for e in plain)
    judging_s = statistics.median(e["seconds"] for e in later)
    lost_s = sum(e["stall_s"] for e in rounds) + sum(e["seconds"] for e in later)
    step_s = (last["time"] - first["time"] - lost_s) / steps
    return {
        "every": every,
        "step_s": step_s,
        "stall_s": stall_s,
        "exchange_s": statistics.median(e["seconds"] for e in plain),
        "judging_s": judging_s,
        "round_share": stall_s / (stall_s + every * step_s),
        "judging_share": judging_s / (judging_s + judge * step_s),
        "volume_share": statistics.mean(e["bytes"] for e in plain) / every
                        / (2 * (WORKERS - 1) * start["params"] * 4),
    }


def summary(found):
    """Median, lowest and highest of each figure."""
    keys = [key for key in found[0] if key != "every"]
    result = {key: [statistics.median(f[key] for f in found), min(f[key] for f in found),
                    max(f[key] for f in found)] for key in keys}
    result["every"] = [f["every"] for f in found]
    return result


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.processor())
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.platform()}


def table(results):
    print(f"{'shape':15} {'cadence':14} {'every':>8} {'step':>9} {'round':>9} {'exchange':>9} "
          f"{'rounds':>8} {'judgings':>9} {'volume':>8}")
    for (shape, cadence), r in results.items():
        every = ",".join(str(e) for e in r["every"] if e) or "-"
        print(f"{shape:15} {cadence:14} {every:>8} {r['step_s'][0] * 1e3:6.1f} ms "
              f"{r['stall_s'][0] * 1e3:6.2f} ms {r['exchange_s'][0] * 1e3:6.2f} ms "
              f"{100 * r['round_share'][0]:6.2f} % {100 * r['judging_share'][0]:7.2f} % "
              f"{100 * r['volume_share'][0]:6.2f} %")
    print("round: keeps a worker from training; volume: of data parallel's")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--shoal", default=ROOT / "build/shoal")
    parser.add_argument("--mpiexec", default="mpirun")
    parser.add_argument("--rounds", type=int, default=3, help="times every case is run")
    parser.add_argument("--steps", type=int, default=0, help="steps of a run; 0: as many as fit")
    parser.add_argument("--only", action="append", choices=SHAPES, help="only this shape")
    parser.add_argument("--out", type=pathlib.Path, help="write JSON here")
    options = parser.parse_args()
    shapes = options.only or list(SHAPES)
    found = {case: [] for case in cases(shapes)}
    for i in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for case in found:
                data = folder / f"data-{case[0]}"
                if not data.exists():
                    data.mkdir()
                    shards(data, 256 if case[0] == "quickstart" else 50257, 400_000)
                found[case].append(run(options, case, folder, data))
                print(f"{i + 1} of {options.rounds}: {', '.join(case)}", flush=True)
    results = {case: summary(runs) for case, runs in found.items()}
    table(results)
    if options.out:
        rows = [{"shape": s, "cadence": c, **r} for (s, c), r in results.items()]
        options.out.write_text(json.dumps({"machine": machine(), "workers": WORKERS,
                                           "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
