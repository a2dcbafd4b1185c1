#!/usr/bin/env python3
"""Kill a run at random instants around its snapshots, verify what is left, resume, and compare with
a run that was left alone: bit for bit. Usage: kill_snapshots.py [--tries N] [--seed S]"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from harness import (SHOAL, RunTest, children, differences, judgings, kill_all, shard_path,
                     wait_until)

STEPS, EVERY, RANKS = 60, 5, 3
SETS = [f"run.steps={STEPS}", f"snapshot.every={EVERY}", "evolution.judge=5", "snapshot.keep=3"]


class Kill(RunTest):
    """Not a test case by itself: a place to run in."""

    def runTest(self):
        pass

    def is_rank(self, pid):
        try:
            return os.readlink(f"/proc/{pid}/exe") == os.path.realpath(SHOAL)
        except OSError:
            return False

    def strike(self, process, draw):
        """Kill everything, or one rank; then nothing of the job is left."""
        everyone = children(process.pid)
        ranks = [pid for pid in everyone if self.is_rank(pid)]
        if draw.random() < 0.5 or not ranks:
            kill_all(process)
            return "all"
        victim = draw.choice(sorted(ranks))
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has just ended
        process.wait(timeout=60)
        wait_until(lambda: not any(map(self.is_rank, everyone)), 20)
        return f"rank {sorted(ranks).index(victim)}"

    def one(self, number, draw, whole):
        run = self.dir / f"try-{number}"
        step = EVERY * draw.randrange(1, STEPS // EVERY)
        later_s = draw.choice((0.0, 0.002, 0.02, 0.1)) * draw.random()
        beside = draw.choice(("true", "true", "false"))
        process = self.begin(run.name, [*SETS, f"snapshot.async={beside}"], RANKS)
        # Its first shard is there: the snapshot is being written, or was a moment ago.
        wait_until(lambda: shard_path(run, draw.randrange(4), step).exists()
                   or process.poll() is not None, 60)
        time.sleep(later_s)
        whom = self.strike(process, draw)
        process.stderr.close()
        checked = subprocess.run([SHOAL, "verify", str(run), "--json"], capture_output=True,
                                 text=True, check=False)
        report = json.loads(checked.stdout)
        left = report["newest_good"]
        assert checked.returncode == 0 and not report["findings"], (number, report)
        assert left >= step - EVERY or step == EVERY, (number, step, left)
        if left >= 0:
            self.train(run.name, SETS, resume=True, ranks=draw.choice((1, RANKS)))
            different = differences(whole, run, STEPS)
            assert different == [], (number, different)
            assert judgings(run) == judgings(whole), number
        shutil.rmtree(run)
        return whom, step, left


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    place = Kill()
    Kill.setUpClass()
    began = time.monotonic()
    torn = 0
    try:
        whole = place.train("whole", SETS, ranks=RANKS)
        for number in range(args.tries):
            whom, step, left = place.one(number, draw, whole)
            torn += left < step
            print(f"try {number}: {whom} at step {step}, resumed from {left}", flush=True)
    finally:
        Kill.tearDownClass()
    print(f"{args.tries} kills, {torn} of them before the snapshot in hand was whole: all resumed, "
          f"bit for bit; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
