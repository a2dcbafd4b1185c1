"""The coordinator sleeps while it waits: under 2 % of a core in the middle of a run."""

import os
import pathlib
import time
import unittest

from harness import RunTest, children, kill_all, wait_until

# Steps that take some tens of milliseconds: slower than the default test model, faster than any
# model worth training.
SIZE = ["model.width=64", "model.context=128", "train.batch=16", "train.micro_batch=0",
        "evolution.every=10", "evolution.judge=50", "snapshot.every=0", "run.log=10",
        "run.steps=100000"]
SECONDS = 4.0


def rank_of(pid):
    environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    name = b"OMPI_COMM_WORLD_RANK="
    return next((item[len(name):] for item in environ if item.startswith(name)), None)


def busy_s(pid):
    """Processor time of a process so far, user and system."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Coordinator(RunTest):
    def test_it_sleeps(self):
        process = self.begin("sleeper", SIZE, ranks=3)
        run = self.dir / "sleeper"
        try:
            metrics = run / "metrics.jsonl"
            wait_until(metrics.exists, 60)
            wait_until(lambda: metrics.read_text().count('"event":"round"') > 1, 60)
            ranks = {rank_of(pid): pid for pid in children(process.pid)}
            before = {rank: busy_s(ranks[rank]) for rank in (b"0", b"1", b"2")}
            time.sleep(SECONDS)
            share = {rank: (busy_s(ranks[rank]) - before[rank]) / SECONDS for rank in before}
        finally:
            kill_all(process)
            process.stderr.close()
        self.assertLess(share[b"0"], 0.02)
        # The measurement itself: the workers must be seen to work.
        self.assertGreater(share[b"1"] + share[b"2"], 0.2)


if __name__ == "__main__":
    unittest.main()
