#!/usr/bin/env python3
"""Training steps of shoal and of PyTorch side by side, in one run.

  compare_pytorch.py --python PYTHON [--build build] [--cases NAME,...] [--rounds 3] [--out FILE]

PYTHON is an interpreter that has torch; neither building nor testing shoal needs it. Every round runs
shoal, PyTorch eager and PyTorch compiled once each, in turn, every one in a process of its own, so that
what else the machine does falls on all alike. The figures are medians over all steps of all rounds; the
ratio is shoal's tokens a second to those of PyTorch's faster mode. All results and a description of the
machine go to FILE as JSON.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
# layers, width, heads, context, vocabulary, batch; steps a round
SHAPES = {
    "char": ((6, 384, 6, 256, 65, 16), 6),
    "gpt2-256": ((12, 768, 12, 256, 50257, 4), 3),
    "gpt2-1024": ((12, 768, 12, 1024, 50257, 4), 2),
}
MODES = ("shoal", "eager", "compile")


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", text)
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    flags = set(re.search(r"flags\s*:\s*(.*)", text).group(1).split())
    return {"processor": model.group(1) if model else platform.machine(),
            "instructions": [f for f in wanted if f in flags],
            "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")}


def measure(args, mode, shape, precision, steps):
    sizes = [str(n) for n in shape] + [precision, str(args.threads), str(steps)]
    if mode == "shoal":
        command = [pathlib.Path(args.build) / "bench" / "bench_step", *sizes]
    else:
        command = [args.python, HERE / "pytorch_step.py", *sizes, mode]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(args, name, precision):
    shape, steps = SHAPES[name]
    runs = {mode: [] for mode in MODES}
    for _ in range(args.rounds):
        for mode in MODES:
            runs[mode].append(measure(args, mode, shape, precision, steps))
    tokens = shape[3] * shape[5]
    result = {"case": name, "precision": precision, "runs": runs}
    for mode in MODES:
        seconds = [s for run in runs[mode] for s in run["seconds"]]
        result[mode] = {"tokens_per_s": tokens / statistics.median(seconds),
                        "slowest_s": max(seconds), "fastest_s": min(seconds),
                        "peak_rss_bytes": max(run["peak_rss_bytes"] for run in runs[mode])}
    best = max(result["eager"]["tokens_per_s"], result["compile"]["tokens_per_s"])
    result["ratio"] = result["shoal"]["tokens_per_s"] / best
    return result


def print_row(result):
    cells = [f"{result[m]['tokens_per_s']:9.0f}" for m in MODES]
    memory = [f"{result[m]['peak_rss_bytes'] / 1e9:6.2f}" for m in MODES]
    print(f"{result['case']:10} {result['precision']:5}", *cells, f"{result['ratio']:7.2f}  ", *memory,
          flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True)
    parser.add_argument("--build", default="build")
    parser.add_argument("--cases", default=",".join(SHAPES))
    parser.add_argument("--precisions", default="bf16,f32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out")
    args = parser.parse_args()
    print(f"{'':16} {'tokens/s:':>9}{'':20} {'':8}  peak GB:")
    print(f"{'case':10} {'type':5} {'shoal':>9} {'eager':>9} {'compile':>9} {'ratio':>7}  "
          f"{'shoal':>7} {'eager':>6} {'comp.':>6}")
    results = []
    for name in args.cases.split(","):
        for precision in args.precisions.split(","):
            results.append(compare(args, name, precision))
            print_row(results[-1])
    if args.out:
        text = json.dumps({"machine": machine(), "threads": args.threads, "rounds": args.rounds,
                           "results": results}, indent=1)
        temporary = pathlib.Path(args.out + ".tmp")
        temporary.write_text(text + "\n")
        temporary.replace(args.out)


if __name__ == "__main__":
    main()
