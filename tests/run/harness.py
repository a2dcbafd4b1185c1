"""What the end-to-end tests share: a small corpus, a small configuration, and runs of `shoal`.

The environment gives the program (SHOAL) and the launcher (SHOAL_MPIEXEC); ctest sets both. Every
test class works in a directory of its own, removed at the end (kept with SHOAL_KEEP set).
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import h5py
import numpy as np

SHOAL = os.environ["SHOAL"]
MPIEXEC = os.environ["SHOAL_MPIEXEC"]
EXPERTS = 4

# Ranks may outnumber cores, and root may be the user.
ENVIRONMENT = {
    **os.environ,
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}

CONFIG = """
run: {steps: 60, log: 5, seed: 3}
model: {layers: 8, width: 32, heads: 2, context: 32, vocab: 256}
population: {experts: 4}
train: {batch: 8, micro_batch: 4, lr: 0.003, warmup: 5, precision: f32}
evolution: {every: 5, judge: 20, fitness_batches: 4}
snapshot: {every: 20, keep: 0}
threads: 1
"""

# Every operator at once: velocity, own best, crossover, mutation, and moments that travel.
EVERY_OPERATOR = [
    f"evolution.{group}.{option}"
    for group in ("body", "io")
    for option in ("attractor=best", "inertia=0.3", "cognitive=0.5", "social=1", "draw=element",
                   "crossover=0.3", "crossover_by=row", "mutation=0.05", "mutation_scale=1",
                   "moments=inherit")
]


def corpus(size):
    """Text with structure to learn, the same on every machine: words drawn with a fixed seed."""
    rng = np.random.default_rng(1)
    words = ["".join(chr(97 + c) for c in rng.integers(0, 26, n)) for n in rng.integers(2, 9, 300)]
    picks = rng.zipf(1.3, size) % len(words)
    return " ".join(words[i] for i in picks)[:size]


def write_shard(path, tokens):
    """A token shard as the format describes it: 256 int32 of header, then uint16 tokens."""
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, len(tokens)
    path.write_bytes(header.tobytes() + np.asarray(tokens, "<u2").tobytes())


def command(config, out, sets=(), resume=False, ranks=1):
    """The command line of a training run; one rank runs without a launcher."""
    line = [SHOAL, "train", str(config), "--set", f"run.out={out}"]
    for item in sets:
        line += ["--set", item]
    if resume:
        line.append("--resume")
    return line if ranks == 1 else [MPIEXEC, "-n", str(ranks), *line]


def shard_path(run, expert, step):
    return pathlib.Path(run) / f"experts/{expert:04d}/step-{step:08d}.h5"


def shard_state(path):
    """Everything of a shard that training computes, as {name: bytes}: no times, names or text."""
    state = {}

    def take(name, item):
        for key, value in item.attrs.items():
            if key not in ("DIMENSION_LABELS", "DIMENSION_LIST"):
                state[f"{name}@{key}"] = np.asarray(value).tobytes()
        if isinstance(item, h5py.Dataset):
            state[name] = item[()].tobytes()

    with h5py.File(path, "r") as file:
        for group in ("params", "optim", "evo", "state"):
            if group in file:
                file[group].visititems(take)
                take(group, file[group])
        for key in ("expert", "step", "tokens", "fitness", "parent"):
            state["@" + key] = np.asarray(file.attrs[key]).tobytes()
        if "history/tensors" in file:
            file["history/tensors"].visititems(take)
            take("norms", file["history/tensors"])
        rows = file["history/judgings"][()]
        if "history/lineage" in file:
            state["lineage"] = file["history/lineage"][()].tobytes()
        state["history"] = b"".join(rows[n].tobytes() for n in ("step", "fitness", "train_loss"))
    return state


def differences(run_a, run_b, step, experts=EXPERTS):
    """Names that differ between the shards of two runs at one step."""
    found = []
    for expert in range(experts):
        a, b = (shard_state(shard_path(run, expert, step)) for run in (run_a, run_b))
        assert a.keys() == b.keys(), sorted(a.keys() ^ b.keys())
        found += [f"{expert}:{name}" for name in a if a[name] != b[name]]
    return found


def events(run, kind=None):
    lines = (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()
    every = [json.loads(line) for line in lines]
    return [event for event in every if kind in (None, event["event"])]


def judgings(run):
    """{step: fitness of every member}; where a step was judged twice, the later one."""
    return {event["step"]: event["fitness"] for event in events(run, "judge")}


def children(pid):
    """Processes below pid, from /proc."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # gone meanwhile
            continue
        if int(text.rsplit(")", 1)[1].split()[1]) == pid:
            child = int(stat.parent.name)
            found += [child, *children(child)]
    return found


def kill_all(process):
    """SIGKILL to a job and everything below it at once, as a power failure would."""
    everyone = [process.pid, *children(process.pid)]
    for pid in everyone:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in everyone), 10)


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {seconds} s")
        time.sleep(0.002)


class RunTest(unittest.TestCase):
    """A directory with shards of the corpus and a configuration that names them."""

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="shoal-run-"))
        (cls.dir / "text.txt").write_text(corpus(200_000))
        subprocess.run([SHOAL, "tokenize", "--tokenizer", "bytes", "--out", cls.dir / "data",
                        cls.dir / "text.txt"], check=True, stdout=subprocess.DEVNULL)
        cls.config = cls.dir / "tiny.yaml"
        data = f"data: {{train: {cls.dir}/data/train_*.bin, val: {cls.dir}/data/val_*.bin}}\n"
        cls.config.write_text(CONFIG + data)

    @classmethod
    def tearDownClass(cls):
        if "SHOAL_KEEP" not in os.environ:
            shutil.rmtree(cls.dir)

    def train(self, out, sets=(), resume=False, ranks=1):
        """Train to the end, successfully; returns the run directory."""
        done = self.attempt(out, sets, resume, ranks)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return self.dir / out

    def attempt(self, out, sets=(), resume=False, ranks=1):
        line = command(self.config, self.dir / out, sets, resume, ranks)
        return subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=120,
                              check=False)

    def begin(self, out, sets=(), ranks=1):
        """A run in the background."""
        line = command(self.config, self.dir / out, sets, ranks=ranks)
        return subprocess.Popen(line, env=ENVIRONMENT, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
