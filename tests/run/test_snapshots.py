"""Snapshots while a run goes on: written beside training, on full disks, checked by verify."""

import json
import resource
import signal
import subprocess
import unittest

import h5py

from harness import (ENVIRONMENT, EXPERTS, SHOAL, RunTest, command, differences, events, kill_all,
                     shard_path, wait_until)


def verify(path):
    """Exit code and report of shoal verify."""
    done = subprocess.run([SHOAL, "verify", str(path), "--json"], capture_output=True, text=True,
                          check=False)
    return done.returncode, json.loads(done.stdout)


def steps(run):
    return sorted(int(path.stem.split("-")[1]) for path in (run / "snapshots").glob("step-*.h5"))


class Snapshots(RunTest):
    def assert_good(self, run, snapshots):
        code, report = verify(run)
        self.assertEqual((code, report["findings"]), (0, []))
        self.assertEqual(report["good_snapshots"], snapshots)

    def test_beside_training_or_not(self):
        """The same bytes, and as many snapshots."""
        for ranks in (1, 3):
            beside = self.train(f"beside-{ranks}", ranks=ranks)
            waiting = self.train(f"waiting-{ranks}", ["snapshot.async=false"], ranks=ranks)
            for step in (20, 40, 60):
                self.assertEqual(differences(beside, waiting, step), [])
            with h5py.File(beside / "best.h5") as a, h5py.File(waiting / "best.h5") as b:
                self.assertEqual(a.attrs["fitness"], b.attrs["fitness"])
                self.assertTrue((a["params/wte/weight"][()] == b["params/wte/weight"][()]).all())
            self.assert_good(beside, 3)
            self.assert_good(waiting, 3)
            # Whoever waits for the disk says so with the snapshot it waited for.
            for event in events(waiting, "snapshot"):
                self.assertGreater(event["stall_s"], 0.02 * event["seconds"])

    def test_a_snapshot_at_every_judging(self):
        """As close upon each other as they can be: none is dropped."""
        run = self.train("dense", ["evolution.judge=5", "snapshot.every=5"], ranks=3)
        self.assertEqual(steps(run), list(range(5, 61, 5)))
        self.assert_good(run, 12)

    def test_a_shard_that_cannot_be_written(self):
        """It costs the snapshot; the next is complete again, and nothing is left of the first."""
        process = self.begin("obstacle", ["run.steps=1000000", "snapshot.keep=2"], ranks=3)
        run = self.dir / "obstacle"
        place, aside = run / "experts/0003", run / "experts/moved"
        try:
            wait_until((run / "snapshots/step-00000020.h5").exists, 30)
            place.rename(aside)
            place.write_text("in the way")
            wait_until(lambda: events(run, "snapshot_failed"), 30)
            place.unlink()
            aside.rename(place)
            failed = len(events(run, "snapshot_failed"))
            newest = max(steps(run))
            wait_until(lambda: max(steps(run)) > newest + 40, 30)
        finally:
            kill_all(process)
            errors = process.stderr.read()
            process.stderr.close()
        self.assertIn("rank 2: a snapshot was not written, training goes on", errors)
        self.assertIn("was given up: the newest is that of step", errors)
        for event in events(run, "snapshot_failed")[:failed]:
            self.assertNotIn(event["step"], steps(run))
            for expert in range(EXPERTS):
                self.assertFalse(shard_path(run, expert, event["step"]).exists())
        code, report = verify(run)
        self.assertEqual((code, report["findings"]), (0, []))

    def limited(self, out, limit, sets=(), resume=False):
        """Train where no file may grow beyond `limit` bytes, as on a full disk."""
        def full_disk():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        line = command(self.config, self.dir / out, sets, resume)
        return subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=120,
                              check=False, preexec_fn=full_disk)

    def test_a_best_that_cannot_be_written(self):
        """It is kept and written later, though training has gone on and finds nothing better."""
        for beside in ("true", "false"):
            run = self.dir / f"best-{beside}"
            (run / "best.h5").mkdir(parents=True)
            process = self.begin(run.name, ["run.steps=1000", "train.lr=0", f"snapshot.async={beside}"])
            first = process.stderr.readline()
            while first and "best.h5 was not written, training goes on" not in first:
                first = process.stderr.readline()
            self.assertTrue(first)
            (run / "best.h5").rmdir()
            process.stderr.read()
            process.stderr.close()
            self.assertEqual(process.wait(), 0)
            with h5py.File(run / "best.h5") as best, h5py.File(shard_path(run, 0, 1000)) as shard:
                self.assertEqual(best.attrs["step"], 0)
                self.assertTrue((best["params/wte/weight"][()] == shard["params/wte/weight"][()]).all())
            self.assertEqual(verify(run)[0], 0)
            # Nobody makes room: that is told at the end.
            again = self.dir / f"never-{beside}"
            (again / "best.h5").mkdir(parents=True)
            done = self.attempt(again.name, ["train.lr=0", f"snapshot.async={beside}"])
            self.assertNotEqual(done.returncode, 0)
            self.assertEqual(done.stderr.count("best.h5 was not written"), 4)
            self.assertIn("best.h5 is not the best member", done.stderr)

    def test_a_full_disk(self):
        for name in ("true", "false"):
            done = self.limited(f"full-{name}", 50_000, [f"snapshot.async={name}"])
            run = self.dir / f"full-{name}"
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("the last snapshot, of step 60, could not be written", done.stderr)
            self.assertEqual(len(events(run, "snapshot_failed")), 3)
            self.assertEqual(len(events(run, "end")), 1)
            self.assertEqual([*run.rglob("*.h5"), *run.rglob(".tmp-*")], [])

    def test_a_disk_that_fills_up(self):
        """What was written before stays, and the run can be finished once there is room."""
        whole = self.train("room")
        run = self.train("fills", ["run.steps=40", "train.schedule=constant"])
        for path in run.glob("experts/*/step-00000040.h5"):
            path.unlink()
        (run / "snapshots/step-00000040.h5").unlink()
        done = self.limited("fills", 50_000, ["run.steps=40", "train.schedule=constant"], True)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(steps(run), [20])
        self.train("fills", ["run.steps=40", "train.schedule=constant"], resume=True)
        self.assertEqual(steps(run), [20, 40])
        self.assert_good(run, 2)
        self.assertEqual(differences(whole, self.train("room-2"), 60), [])


if __name__ == "__main__":
    unittest.main()
