"""llm.c's CPU trainer, a built train_gpt2, as a contestant of compare.py.

The program takes no arguments: batch and context were fixed when it was built, and it reads a GPT-2
124M and two token shards from the directory it is started in. So these are made here, of random
numbers, since their values do not change how long a step takes. It judges five batches, then prints
how long each training step took; it is stopped as soon as enough steps are known.
"""
import array
import os
import pathlib
import random
import re
import signal
import subprocess
import sys

LAYERS, WIDTH, HEADS, MOST_CONTEXT, VOCAB, PADDED_VOCAB = 12, 768, 12, 1024, 50257, 50304
BATCH = 4
TOKENS = (1 << 19) + 1
HEADER_INTS = 256
# A step this long makes up for what its first run does besides computing.
LONG_STEP_S = 60
SHARDS = "dev/data/tinyshakespeare/tiny_shakespeare_{}.bin"


def shape(context):
    """What the program trains, in the order of compare.SHAPES."""
    return (LAYERS, WIDTH, HEADS, context, VOCAB, BATCH)


def tensors():
    """Parameters in the order of the checkpoint: how many, and what they are before training."""
    def normal(n):
        return n, "normal"

    def norm(layers):
        return [(layers * WIDTH, "one"), (layers * WIDTH, "zero")]

    def linear(outputs, inputs):
        return [normal(LAYERS * outputs * inputs), (LAYERS * outputs, "zero")]

    return [normal(PADDED_VOCAB * WIDTH), normal(MOST_CONTEXT * WIDTH),
            *norm(LAYERS), *linear(3 * WIDTH, WIDTH), *linear(WIDTH, WIDTH),
            *norm(LAYERS), *linear(4 * WIDTH, WIDTH), *linear(WIDTH, 4 * WIDTH), *norm(1)]


def header(*numbers):
    return array.array("i", [*numbers, *[0] * (HEADER_INTS - len(numbers))])


def write_checkpoint(path, counts):
    """The model file. Random numbers are repeated: drawing all of them would take a minute. Their
    number is prime, so that no two rows are alike, and small, because the memory this process has
    used counts as used by the ones it starts."""
    rng = random.Random(1)
    patterns = {"normal": array.array("f", (rng.gauss(0, 0.02) for _ in range(1000003))),
                "one": array.array("f", [1.0]) * 65536, "zero": array.array("f", [0.0]) * 65536}
    with open(path, "wb") as file:
        header(20240326, 3, MOST_CONTEXT, VOCAB, LAYERS, HEADS, WIDTH, PADDED_VOCAB).tofile(file)
        for count, kind in counts:
            pattern = patterns[kind]
            for at in range(0, count, len(pattern)):
                pattern[:count - at].tofile(file)


def write_shard(path, count):
    rng = random.Random(2)
    with open(path, "wb") as file:
        header(20240520, 1, count).tofile(file)
        array.array("H", rng.choices(range(VOCAB), k=count)).tofile(file)


def prepare(folder):
    """All that the program reads, 500 MB."""
    folder = pathlib.Path(folder)
    write_checkpoint(folder / "gpt2_124M.bin", tensors())
    for part in "train", "val":
        path = folder / SHARDS.format(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_shard(path, TOKENS)


def step_seconds(line):
    """How long the step took that this line is about; None if it is about something else."""
    found = re.match(r"step \d+: .*\(took ([0-9.]+) ms\)", line)
    return float(found.group(1)) / 1000 if found else None


def built_for(line, context):
    """False if the line shows that the program was built for another batch or context."""
    found = re.match(r"train dataset num_batches: (\d+)", line)
    return not found or int(found.group(1)) == TOKENS // (BATCH * context)


def collect(lines, context, steps):
    """Times of `steps` steps after the first, which also allocates; of the first alone if it is long.
    RuntimeError if the program ends before, or was built for something else."""
    seconds, said = [], []
    for line in lines:
        said.append(line)
        if not built_for(line, context):
            raise RuntimeError(f"not built for {BATCH} x {context} tokens: {line.strip()}")
        took = step_seconds(line)
        if took is None:
            continue
        seconds.append(took)
        if took > LONG_STEP_S or len(seconds) > steps:
            return seconds[1:] or seconds
    raise RuntimeError("it ended early:\n" + "".join(said[-10:]))


def measure(binary, folder, context, threads, steps):
    """One run in the folder that prepare() has filled; the keys are those of bench_step."""
    process = subprocess.Popen(["stdbuf", "-oL", pathlib.Path(binary).resolve()], cwd=folder,
                               env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace")
    try:
        seconds = collect(process.stdout, context, steps)
    except RuntimeError as failure:
        sys.exit(f"{binary}: {failure}")
    finally:
        # Not process.kill(), which may collect the exit status: wait4 then has nothing to tell.
        os.kill(process.pid, signal.SIGKILL)
        _, process.returncode, usage = os.wait4(process.pid, 0)
        process.stdout.close()
    return {"seconds": seconds, "peak_rss_bytes": usage.ru_maxrss * 1024,
            "device": f"llm.c, {threads} threads"}
