"""Lost ranks: one worker of four killed or stopped, the coordinator killed. --tries N repeats each of
the faults N times, at other steps, and prints what came of it."""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import unittest

import h5py

from harness import (ENVIRONMENT, EXPERTS, MPIEXEC, SHOAL, RunTest, children, command, events,
                     kill_all, wait_until)

DEADLINE = 1.5
FAULTS = ["run.steps=100000", "run.log=1", "faults.heartbeat=0.2", f"faults.deadline={DEADLINE}",
          "evolution.every=5", "evolution.judge=20", "snapshot.every=40", "snapshot.keep=3"]
RECOVERS = {**ENVIRONMENT, "OMPI_MCA_orte_enable_recovery": "1"}


def rank_pids(process):
    """{world rank: process id} of a job."""
    found = {}
    for pid in children(process.pid):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                names = dict(item.split(b"=", 1) for item in file.read().split(b"\0") if b"=" in item)
            found[int(names[b"OMPI_COMM_WORLD_RANK"])] = pid
        except (OSError, KeyError):
            continue
    return found


class Run:
    """A run of four workers that somebody disturbs."""

    def __init__(self, test, name, sets=()):
        self.dir = test.dir / name
        line = command(test.config, self.dir, [*FAULTS, *sets], ranks=EXPERTS + 1)
        self.process = subprocess.Popen(line, env=RECOVERS, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.begun = time.monotonic()

    def lines(self, kind=None):
        path = self.dir / "metrics.jsonl"
        if not path.exists():
            return []
        whole = path.read_text().rsplit("\n", 1)[0].splitlines()
        every = [json.loads(line) for line in whole]
        return [event for event in every if kind in (None, event["event"])]

    def wait(self, condition, seconds=40):
        try:
            wait_until(condition, seconds)
        except TimeoutError:
            output, errors = self.end()
            raise AssertionError(f"waited in vain: {output}{errors}") from None

    def wait_for_step(self, step):
        self.wait(lambda: any(event["step"] >= step for event in self.lines("step")[-9:]))

    def strike(self, rank, number):
        pids = rank_pids(self.process)
        os.kill(pids[rank], number)
        return pids[rank], time.monotonic()

    def time_to_round(self, since):
        """Seconds from then until the survivors have gone through another round."""
        done = len(self.lines("lost"))
        self.wait(lambda: len(self.lines("lost")) > done or done)
        lost = self.lines("lost")[-1]["time"]
        kinds = ("round", "judge")  # not every run has rounds
        self.wait(lambda: any(e["time"] > lost for e in self.lines() if e["event"] in kinds))
        return time.monotonic() - since

    def stop(self):
        """Ask the coordinator to end the run in order."""
        os.kill(rank_pids(self.process)[0], signal.SIGTERM)
        return self.finish()

    def finish(self, seconds=40):
        try:
            output, errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            output, errors = self.end()
            raise AssertionError(f"does not end: {output}{errors}") from None
        return self.process.returncode, output, errors

    def end(self):
        kill_all(self.process)
        return self.process.communicate()


def verify(run):
    done = subprocess.run([SHOAL, "verify", str(run)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Losses(RunTest):
    seed = 1

    def disturb(self, name, number, sets=()):
        """Lose a worker at a random step; *what the run had to say of it, and how long it took."""
        draw = random.Random(f"{self.seed} {name}")
        run = Run(self, name, sets)
        try:
            run.wait_for_step(draw.randrange(1, 90))
            time.sleep(draw.random() * 0.2)
            rank = draw.randrange(1, EXPERTS + 1)
            pid, since = run.strike(rank, number)
            took = run.time_to_round(since)
            lost = run.lines("lost")
            self.assertEqual([event["worker"] for event in lost], [rank - 1])
            self.assertIn("silent for", lost[0]["reason"])
            step = run.lines("step")[-1]["step"]
            run.wait_for_step(step + 45)
            if number == signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
                run.wait(lambda: not os.path.exists(f"/proc/{pid}/exe"))
                run.wait_for_step(run.lines("step")[-1]["step"] + 10)
            code, output, errors = run.stop()
            self.assertEqual(code, 0, output + errors)
            self.assertIn(f"worker {rank - 1} has been silent", errors)
            self.assertIn("without 1 of 4 experts at the end (1 worker lost)", output)
            verify(run.dir)
            self.assertLess(took, DEADLINE + 2)
            return run, rank - 1, took, errors
        finally:
            if run.process.poll() is None:
                run.end()

    def test_killed(self):
        """The others go on, and the lost expert comes back with a resumption."""
        run, worker, _, _ = self.disturb("killed", signal.SIGKILL)
        with h5py.File(run.dir / "latest", "r") as file:
            step = int(file.attrs["step"])
            age = file["ledger/age"][()].tolist()
        self.assertTrue(age[worker] == -1 or age[worker] > 0, age)
        self.assertEqual([a for k, a in enumerate(age) if k != worker], [0, 0, 0])
        before = self.speed(run, 3 - (worker == 3), worker)
        self.assertGreater(before[1], 0.3 * before[0], before)
        self.train(run.dir.name, [*FAULTS[1:], f"run.steps={step // 20 * 20 + 40}"], resume=True,
                   ranks=3)
        verify(run.dir)
        with h5py.File(run.dir / "latest", "r") as file:
            self.assertNotIn("age", file["ledger"])
            self.assertEqual(len(file["experts"]), EXPERTS)

    @staticmethod
    def speed(run, expert, _):
        """Median tokens per second of an expert before and after the loss."""
        lost = run.lines("lost")[0]["time"]
        steps = [e for e in run.lines("step") if e["expert"] == expert]
        return [statistics.median(e["tokens_per_s"] for e in steps if (e["time"] > lost) == after)
                for after in (False, True)]

    def test_stopped(self):
        """Whoever stood still too long is told so when it wakes, and leaves."""
        _, _, _, errors = self.disturb("stopped", signal.SIGSTOP, ["evolution.delay=2"])
        self.assertIn("the others have gone on without it", errors)

    def test_two_at_once(self):
        """As when a machine is lost that had two of them."""
        run = Run(self, "two", ["evolution.preset=tournament"])
        try:
            run.wait_for_step(30)
            for rank in (1, 3):
                run.strike(rank, signal.SIGKILL)
            run.wait(lambda: len(run.lines("lost")) == 2)
            run.wait_for_step(run.lines("step")[-1]["step"] + 45)
            code, output, errors = run.stop()
            self.assertEqual(code, 0, output + errors)
            self.assertEqual(sorted(event["worker"] for event in run.lines("lost")), [0, 2])
            self.assertIn("without 2 of 4 experts at the end (2 workers lost)", output)
            verify(run.dir)
        finally:
            if run.process.poll() is None:
                run.end()

    def test_coordinator(self):
        """Without the coordinator the workers save what they have, and say so."""
        run = Run(self, "headless", ["run.steps=100000"])
        try:
            run.wait(lambda: (run.dir / "latest").exists())
            with h5py.File(run.dir / "latest", "r") as file:
                step = int(file.attrs["step"])
            run.strike(0, signal.SIGKILL)
            code, output, errors = run.finish()
            self.assertNotEqual(code, 0, output + errors)
            self.assertEqual(errors.count("saved as they stand"), EXPERTS, errors)
            self.assertIn("--resume", errors)
        finally:
            if run.process.poll() is None:
                run.end()
        self.train("headless", [*FAULTS[1:], f"run.steps={step + 200}"], resume=True, ranks=2)
        verify(run.dir)



def tries(n):
    faults = {"kill a worker": ("killed", signal.SIGKILL), "stop a worker": ("stopped", signal.SIGSTOP)}
    for title, (name, number) in faults.items():
        took = []
        for seed in range(n):
            test = Losses("test_killed")
            Losses.setUpClass()
            test.seed = seed
            try:
                took.append(test.disturb(f"{name}-{seed}", number)[2])
            except AssertionError as failure:
                print(f"{title}, try {seed}: {failure}")
            Losses.tearDownClass()
        print(f"{title}: {len(took)} of {n} went on, after {min(took):.1f} to {max(took):.1f} s "
              f"(deadline {DEADLINE} s)")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--tries":
        tries(int(sys.argv[2]))
    else:
        unittest.main()
