"""Many ranks on few cores: one thread each, more ranks than cores by far. The run must come to its end,
with the bits that one process alone gives; prints how long it took and how much memory.

usage: many_ranks.py [--ranks N]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from harness import (CONFIG, ENVIRONMENT, SHOAL, children, command, corpus, events, judgings,
                     shard_path, shard_state)

ROUNDS, EVERY, LIMIT_S = 20, 2, 600
SMALL = [f"run.steps={ROUNDS * EVERY}", f"evolution.every={EVERY}", "evolution.judge=10",
         "evolution.fitness_batches=1", "snapshot.every=20",
         "model.width=16", "model.context=16", "train.batch=2", "train.micro_batch=2",
         "population.init=different"]


def memory(pid):
    """Bytes that pid and all below it hold, what they share counted once."""
    held = 0
    for each in (pid, *children(pid)):
        try:
            text = pathlib.Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:  # gone meanwhile
            continue
        held += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return 1024 * held


class Peak:
    """The most memory of a process and its children, looked at now and then."""

    def __init__(self, pid):
        self.bytes, self.pid, self.over = 0, pid, threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.over.wait(1.0):
            self.bytes = max(self.bytes, memory(self.pid))

    def end(self):
        self.over.set()
        self.thread.join()
        return self.bytes


def train(config, out, sets, ranks):
    """The run directory, seconds and bytes."""
    begun = time.monotonic()
    job = subprocess.Popen(command(config, out, sets, ranks=ranks), env=ENVIRONMENT, text=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = Peak(job.pid)
    try:
        _, errors = job.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        job.terminate()  # mpirun ends its ranks
        job.communicate()
        sys.exit(f"{ranks} ranks did not come to the end within {LIMIT_S} s")
    finally:
        held = peak.end()
    if job.returncode != 0:
        sys.exit(f"{ranks} ranks ended with code {job.returncode}:\n{errors}")
    return time.monotonic() - begun, held


def check(alone, many, ranks, experts):
    steps = ROUNDS * EVERY
    start, rounds = events(many, "start")[0], events(many, "round")
    assert start["workers"] == ranks - 1, start
    assert len(rounds) == ROUNDS, [event["step"] for event in rounds]
    assert judgings(alone) == judgings(many), "the judgings differ"
    for expert in range(experts):
        one, other = (shard_state(shard_path(run, expert, steps)) for run in (alone, many))
        wrong = [name for name in one if one[name] != other[name]]
        assert not wrong, f"expert {expert} differs in {wrong}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=64)
    ranks = parser.parse_args().ranks
    experts = ranks  # one worker owns two
    with tempfile.TemporaryDirectory(prefix="shoal-many-") as where:
        here = pathlib.Path(where)
        (here / "text.txt").write_text(corpus(200_000))
        subprocess.run([SHOAL, "tokenize", "--tokenizer", "bytes", "--out", here / "data",
                        here / "text.txt"], check=True, stdout=subprocess.DEVNULL)
        config = here / "tiny.yaml"
        config.write_text(
            CONFIG + f"data: {{train: {here}/data/train_*.bin, val: {here}/data/val_*.bin}}\n")
        sets = [*SMALL, f"model.layers={experts}", f"population.experts={experts}"]
        seconds, _ = train(config, here / "alone", sets, 1)
        print(f"1 process, {experts} experts: {seconds:.1f} s", flush=True)
        seconds, held = train(config, here / "many", sets, ranks)
        print(f"{ranks} ranks: {seconds:.1f} s, {held / 1e9:.2f} GB", flush=True)
        check(here / "alone", here / "many", ranks, experts)


if __name__ == "__main__":
    main()
