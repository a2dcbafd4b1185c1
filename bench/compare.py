#!/usr/bin/env python3
"""Training steps of shoal, PyTorch and llm.c side by side, in one run.

  compare.py [--python PYTHON] [--llmc CONTEXT=BINARY]... [--build build] [--cases NAME,...]
             [--precisions bf16,f32] [--rounds 3] [--threads N] [--out FILE]

PYTHON is an interpreter that has torch; BINARY is a built train_gpt2 of llm.c with a batch of 4 and
CONTEXT tokens. Neither building nor testing shoal needs them, and what is not given is left out. llm.c
takes part in the case that is its model, batch and context; with 1024 tokens it needs 20 GB. Its
input files are made in the directory for temporary files (TMPDIR), 500 MB.

Every round measures the machine's peaks (bench/peaks.c), then runs each contestant once, in turn, in a
process of its own and on the same number of threads, so that what else the machine does falls on all
alike. Figures are medians over the steps of all rounds; ratios are of tokens a second. PyTorch's is
the faster of eager and compiled (pytorch_step.py says what was done for it). Shares are the model's
arithmetic, as bench_step counts it, to the highest product peak of the same type in the whole run.

A table is printed at the end; progress goes to stderr. All measurements, a description of the machine
and how busy others kept it during each run go to FILE as JSON, rewritten after every case.
"""
import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile

import figures
import llmc

HERE = pathlib.Path(__file__).parent
# layers, width, heads, context, vocabulary, batch; steps a round
SHAPES = {
    "char": ((6, 384, 6, 256, 65, 16), 6),
    "gpt2-256": ((12, 768, 12, 256, 50257, 4), 3),
    "gpt2-1024": ((12, 768, 12, 1024, 50257, 4), 2),
}
PEAK_SECONDS = "0.2"


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    flags = about.get("flags", "").split()
    return {"processor": about.get("model name", platform.machine()),
            "family": about.get("cpu family"), "model": about.get("model"),
            "instructions": [f for f in wanted if f in flags],
            "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")}


def last_json(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_peaks(args):
    return last_json([args.build / "bench" / "bench_peaks", str(args.threads), PEAK_SECONDS])


def processor_ticks():
    """Of all cores since the machine started: used or kept from us by a hypervisor, and all."""
    ticks = [int(n) for n in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle, waiting = ticks[3:5]
    return sum(ticks) - idle - waiting, sum(ticks)


def children_ticks():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * os.sysconf("SC_CLK_TCK")


def start(args, name, precision, mode, folder):
    shape, steps = SHAPES[name]
    sizes = [str(n) for n in shape] + [precision, str(args.threads), str(steps)]
    if mode == "shoal":
        return last_json([args.build / "bench" / "bench_step", *sizes])
    if mode == "llmc":
        return llmc.measure(args.llmc[shape[3]], folder, shape[3], args.threads, steps)
    return last_json([args.python, HERE / "pytorch_step.py", *sizes, mode])


def measure(*what):
    """One run, with the share of the machine's processor time that went to anything else meanwhile."""
    (used, passed), own = processor_ticks(), children_ticks()
    run = start(*what)
    (used_after, passed_after), own_after = processor_ticks(), children_ticks()
    others = used_after - used - (own_after - own)
    return {**run, "others_share": max(others / (passed_after - passed), 0)}


def contestants(args, name):
    """What a round of this case runs, in turn: (type, mode)."""
    modes = ["shoal", *(figures.PYTORCH if args.python else ())]
    shape = SHAPES[name][0]
    rivals = [("f32", "llmc")] if shape[3] in args.llmc and shape == llmc.shape(shape[3]) else []
    return [(precision, mode) for precision in args.precisions for mode in modes] + rivals


def run_case(args, name, folder, peaks):
    """Measurements of all rounds by (type, mode); appends to peaks."""
    runs = {contestant: [] for contestant in contestants(args, name)}
    for number in range(args.rounds):
        peaks.append({"case": name, **measure_peaks(args)})
        for precision, mode in runs:
            print(f"{name} {precision} {mode}, round {number + 1} of {args.rounds}", file=sys.stderr)
            runs[precision, mode].append(measure(args, name, precision, mode, folder))
    return runs


def rows_of(args, measured, peaks):
    """measured: what run_case returned, by name. llm.c, which has only f32, is in every row."""
    rows = []
    for name, runs in measured.items():
        tokens = SHAPES[name][0][3] * SHAPES[name][0][5]
        for precision in args.precisions:
            own = {mode: r for (kind, mode), r in runs.items() if kind == precision or mode == "llmc"}
            rows.append(figures.row(name, precision, own, tokens, peaks))
    return rows


def save(args, rows, peaks):
    text = json.dumps({"machine": machine(), "threads": args.threads, "rounds": args.rounds,
                       "peaks": peaks, "results": rows}, indent=1)
    temporary = pathlib.Path(args.out + ".tmp")
    temporary.write_text(text + "\n")
    temporary.replace(args.out)


def context_and_binary(text):
    context, _, binary = text.partition("=")
    if not context.isdigit() or not os.access(binary, os.X_OK):
        raise argparse.ArgumentTypeError(f"'{text}' is not CONTEXT=BINARY")
    return int(context), binary


def names_among(known):
    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
        return names
    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python")
    parser.add_argument("--llmc", action="append", default=[], type=context_and_binary)
    parser.add_argument("--build", type=pathlib.Path, default="build")
    parser.add_argument("--cases", type=names_among(SHAPES), default=list(SHAPES))
    parser.add_argument("--precisions", type=names_among(("bf16", "f32")), default=["bf16", "f32"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out")
    args = parser.parse_args()
    args.llmc = dict(args.llmc)
    return args


def main():
    args = arguments()
    measured, peaks = {}, []
    with tempfile.TemporaryDirectory() as folder:
        if args.llmc:
            llmc.prepare(folder)
        for name in args.cases:
            measured[name] = run_case(args, name, folder, peaks)
            peaks.append({"case": name, **measure_peaks(args)})
            if args.out:
                save(args, rows_of(args, measured, peaks), peaks)
    print(figures.table(rows_of(args, measured, peaks), peaks))


if __name__ == "__main__":
    main()
