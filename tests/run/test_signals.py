"""Signals save a run or stop it in order, between two judgings, and nothing is lost or changed."""

import os
import shutil
import signal
import subprocess
import time
import unittest

import h5py

from harness import (ENVIRONMENT, EVERY_OPERATOR, SHOAL, RunTest, children, command, differences, events,
                     judgings, kill_all, wait_until)

STEPS, JUDGE = 120, 60
# Judged seldom, so that signals find it between two judgings.
SETS = [f"run.steps={STEPS}", f"evolution.judge={JUDGE}", "evolution.every=5",
        f"snapshot.every={JUDGE}", "run.log=1"]


def ranks_of(process):
    """Process ids of the ranks, whatever the launcher is."""
    found = []
    for pid in [process.pid, *children(process.pid)]:
        try:
            name = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            continue
        if os.path.basename(name) == "shoal":
            found.append(pid)
    return sorted(found)


class Signals(RunTest):
    def whole(self, sets=()):
        """The same run undisturbed: the same for any number of ranks."""
        name = "-".join(["whole", *sets])[:40].replace("/", "")
        return self.dir / name if (self.dir / name).exists() else self.train(name, [*SETS, *sets])

    def begin_and_wait(self, out, sets=(), ranks=1, step=10, environment=None):
        line = command(self.config, self.dir / out, [*SETS, *sets], ranks=ranks)
        process = subprocess.Popen(line, env={**ENVIRONMENT, **(environment or {})},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        run = self.dir / out

        def trained():
            if not (run / "metrics.jsonl").exists():
                return False
            lines = (run / "metrics.jsonl").read_text().rsplit("\n", 2)
            return any(f'"step":{step + more}' in line for line in lines for more in range(30))
        try:
            wait_until(trained, 60)
        except TimeoutError:
            kill_all(process)
            raise
        return run, process

    def finish(self, process):
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            kill_all(process)
        return process.returncode, output, errors

    @staticmethod
    def newest(run):
        """Step of the newest index, and of its last judging."""
        with h5py.File(run / "latest", "r") as file:
            return int(file.attrs["step"]), int(file.attrs["judged_step"])

    def stop_and_resume(self, name, number, whom, sets=(), ranks=1, again=None, between=True):
        """Signal a run, see it stop in order between judgings, resume it, compare with a whole."""
        whole = self.whole(sets)
        for _ in range(4):  # on a busy machine a run may be over before the signal is sent
            run, process = self.begin_and_wait(name, sets, ranks)
            for pid in whom(process):
                os.kill(pid, number)
            code, output, errors = self.finish(process)
            self.assertEqual(code, 0, output + errors)
            if "stopped (" in output and (not between or self.newest(run)[0] < JUDGE):
                break
            shutil.rmtree(run)
        self.assertIn(f"stopped ({signal.Signals(number).name}", output)
        self.assertIn(f"resume: shoal train {run}/config.yaml --resume", output)
        step, judged = self.newest(run)
        if between:
            self.assertTrue(10 <= step < JUDGE, step)
            self.assertEqual((step % 5, judged), (0, 0))
        else:
            self.assertEqual((step, judged), (JUDGE, JUDGE))
        self.assertIn("why", events(run, "end")[-1])
        self.train(run.name, [*SETS, *sets], resume=True, ranks=again or ranks)
        self.assertEqual(events(run, "start")[-1]["step"], step)
        self.assertEqual(differences(whole, run, STEPS), [])
        self.assertEqual(judgings(whole), judgings(run))

    def test_alone(self):
        self.stop_and_resume("alone", signal.SIGTERM, ranks_of, EVERY_OPERATOR)

    def test_by_the_launcher(self):
        """mpirun hands SIGUSR1 and SIGUSR2 on to all; the first one saves and the run goes on."""
        def save_then_stop(process):
            run = self.dir / "launcher"
            process.send_signal(signal.SIGUSR1)
            wait_until((run / "latest").exists, 30)
            self.saved = self.newest(run)
            return [process.pid]

        self.stop_and_resume("launcher", signal.SIGUSR2, save_then_stop, ranks=3)
        saved = [event["step"] for event in events(self.dir / "launcher", "snapshot")]
        self.assertEqual(self.saved, (saved[0], 0))
        self.assertEqual(len(saved), 4, saved)
        self.assertEqual(sorted(set(saved)), saved)

    def test_one_worker_only(self):
        """And a round that was begun is applied before the run halts."""
        self.stop_and_resume("worker", signal.SIGINT, lambda process: ranks_of(process)[-1:],
                             ["evolution.delay=3", "evolution.fragments=2"], ranks=3, again=2)

    def test_narrow_wire(self):
        """What travels as differences begins anew at a judging only, so the run stops there."""
        self.stop_and_resume("narrow", signal.SIGTERM, ranks_of,
                             ["evolution.wire=bf16", "evolution.delay=1"], between=False)

    def test_independent_experts(self):
        """Also where nothing is exchanged in rounds."""
        self.stop_and_resume("none", signal.SIGTERM, ranks_of, ["evolution.preset=none"], ranks=3)

    def test_twice(self):
        """The second signal ends it at once; what was saved before is good."""
        run, process = self.begin_and_wait(
            "twice", ["evolution.every=200", "evolution.judge=200000", "snapshot.every=0",
                      "run.steps=1000000"])
        process.send_signal(signal.SIGUSR1)
        try:
            wait_until((run / "latest").exists, 60)
        except TimeoutError:
            kill_all(process)
            raise
        process.send_signal(signal.SIGTERM)
        time.sleep(0.6)
        process.send_signal(signal.SIGINT)
        code, output, errors = self.finish(process)
        self.assertEqual(code, 128 + signal.SIGINT, output + errors)
        self.assertIn("second signal", errors)
        self.assertEqual(self.newest(run), (200, 0))
        subprocess.run([SHOAL, "inspect", run], check=True, stdout=subprocess.DEVNULL)

    def test_end_of_a_batch_job(self):
        """The time that Slurm tells is kept, less run.margin."""
        end = {"SLURM_JOB_END_TIME": str(int(time.time()) + 62)}
        begun = time.monotonic()
        run, process = self.begin_and_wait(
            "job", ["run.steps=1000000", "run.margin=1"], environment=end, step=1)
        code, output, errors = self.finish(process)
        self.assertEqual(code, 0, output + errors)
        self.assertIn("stopped (the job's time is nearly over)", output)
        self.assertTrue(1 < time.monotonic() - begun < 20)
        self.assertIn("the job ends in 1 minutes", errors)
        self.assertEqual(self.newest(run)[0] % 5, 0)


if __name__ == "__main__":
    unittest.main()
