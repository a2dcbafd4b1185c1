"""slurm/train.sbatch in a real Slurm of two nodes (cluster.py). Usage: test_slurm.py [Slurm|Extended]

Extended is what takes long because Slurm waits. Without the programs of Slurm it exits with 77.
"""

import os
import pathlib
import signal
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/run"))

from cluster import OVER, Cluster, missing, processes_with  # noqa: E402
from harness import ENVIRONMENT, SHOAL, RunTest, differences, events  # noqa: E402

SCRIPT = ROOT / "slurm/train.sbatch"
# Runs that others end: long enough, with many moments at which they may be saved.
ENDLESS = ["run.steps=1000000", "evolution.judge=100", "snapshot.every=100000", "run.log=5"]
OFTEN_SAVED = ["run.steps=1000000", "evolution.judge=20", "snapshot.every=20", "run.log=5"]


def write_program(path, line):
    """One that does something more before it becomes shoal."""
    path.write_text(f'#!/bin/sh\n{line}\nexec {SHOAL} "$@"\n')
    path.chmod(0o755)


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # gone meanwhile
        return b""


class SlurmTest(RunTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(super().tearDownClass)
        cls.cluster = cls.enterClassContext(Cluster())
        # Two nodes on one host would mix up each other's shared memory.
        cls.cluster.environment.update(
            {k: v for k, v in ENVIRONMENT.items() if k.startswith("OMPI_ALLOW")},
            OMPI_MCA_btl="self,tcp", OMPI_MCA_btl_tcp_if_include="lo", OMPI_MCA_mpi_yield_when_idle="1",
            SHOAL=SHOAL)

    @classmethod
    def tearDownClass(cls):
        """Cleanups do it, in their order."""

    def setUp(self):
        self.begun = time.monotonic()

    def tearDown(self):
        self.cluster.cancel_all()
        print(f"{self.id().split('.')[-1]}: {time.monotonic() - self.begun:.1f} s", flush=True)

    # ---- jobs ------------------------------------------------------------------------------------

    def submit(self, name, *options, sets=(), launch="srun", **environment):
        """A job of two workers on each of two nodes, and the directory of its run."""
        run = self.dir / name
        arguments = [word for item in sets for word in ("--set", item)]
        job = self.cluster.submit("--cpus-per-task=1", f"--output={run}-%a.out", *options, SCRIPT,
                                  self.config, *arguments, SHOAL_RUN=run, SHOAL_LAUNCH=launch,
                                  **environment)
        return job, run

    def output(self, run):
        return "".join(path.read_text() for path in sorted(self.dir.glob(f"{run.name}*.out")))

    def await_state(self, job, run, *states, seconds=60):
        try:
            self.cluster.wait(lambda: self.cluster.state(job) in (*states, *OVER), seconds, states)
        except TimeoutError as error:
            raise AssertionError(self.output(run)) from error
        self.assertIn(self.cluster.state(job), states, self.output(run))

    def await_step(self, job, run, starts=1):
        """Until the run has been started so often and trains."""
        def trains():
            self.assertNotIn(self.cluster.state(job), OVER, self.output(run))
            if not (run / "metrics.jsonl").exists():
                return False
            kinds = [event["event"] for event in events(run)]
            return kinds.count("start") >= starts and kinds[-1] == "step"
        try:
            self.cluster.wait(trains, 60, "the run trains")
        except TimeoutError as error:
            raise AssertionError(self.output(run)) from error

    def saved(self, run, why):
        """The step at which a run was stopped for that reason."""
        end = events(run, "end")[-1]
        self.assertIn(why, end.get("why", ""), self.output(run))
        self.assertEqual((run / "latest").resolve().name, f"step-{end['step']:08d}.h5")
        return end["step"]

    # ---- what jobs go through ----------------------------------------------------------------------

    def goes_to_its_end(self, launch):
        """Rank 0 on the first node, a worker for every GPU, of which each sees those of its node, and
        the bits of a run without Slurm."""
        who = self.dir / f"ranks-{launch}"
        program = self.dir / f"shoal-{launch}"
        write_program(program, f'echo "$SLURMD_NODENAME $PMIX_RANK $CUDA_VISIBLE_DEVICES" >> {who}')
        job, run = self.submit(launch, "--gpus-per-node=2", "--ntasks-per-node=1", sets=["device=cpu"],
                               launch=launch, SHOAL=program)
        self.await_state(job, run, "COMPLETED")
        self.assertEqual(sorted(who.read_text().splitlines()), ["n1 0 0,1", "n1 1 0,1", "n1 2 0,1",
                                                                 "n2 3 0,1", "n2 4 0,1"])
        self.assertEqual(events(run, "start")[0]["workers"], 4)
        alone = self.dir / "alone"
        if not alone.exists():
            self.train("alone", ["device=cpu"])
        self.assertEqual(differences(alone, run, 60), [])

    def is_cancelled(self, launch):
        """scancel saves the run; a new job goes on with it, to its end."""
        job, run = self.submit(f"cancel-{launch}", sets=ENDLESS, launch=launch)
        self.await_step(job, run)
        self.cluster.ask("scancel", job, check=True)
        self.await_state(job, run, "CANCELLED")
        step = self.saved(run, "SIGTERM")
        self.assertGreater(step, 0)
        again, _ = self.submit(run.name, sets=[f"run.steps={step // 100 * 100 + 100}"], launch=launch)
        self.await_state(again, run, "COMPLETED")
        self.assertEqual([event["step"] for event in events(run, "start")], [0, step])
        self.assertNotIn("why", events(run, "end")[-1])

    def goes_on_by_itself(self, job, run, why):
        """Queued again, and in the second start where the first one stopped."""
        self.await_step(job, run, starts=2)
        end = events(run, "end")[0]
        self.assertIn(why, end["why"])
        self.assertGreater(end["step"], 0)
        self.assertEqual([event["step"] for event in events(run, "start")][:2], [0, end["step"]])

    def restarted(self, job):
        return self.cluster.show(job).get("Restarts", "0") != "0"

    def preempt(self, job, run):
        urgent = self.cluster.submit("--partition=urgent", "--nodes=2", "--exclusive",
                                     "--output=/dev/null", "--wrap", "sleep 1")
        self.await_state(urgent, run, "COMPLETED")


class Slurm(SlurmTest):
    def test_to_the_end(self):
        self.goes_to_its_end("srun")

    def test_to_the_end_by_mpirun(self):
        self.goes_to_its_end("mpirun")

    def test_cancelled(self):
        self.is_cancelled("srun")

    def test_stopped_for_good(self):
        """scancel --batch --signal=TERM gives the run as long as it needs, and the job ends well."""
        job, run = self.submit("stopped", sets=ENDLESS)
        self.await_step(job, run)
        self.cluster.ask("scancel", "--batch", "--signal=TERM", job, check=True)
        self.await_state(job, run, "COMPLETED")
        self.saved(run, "SIGUSR2")

    def test_preempted(self):
        """Jobs that matter more take its nodes: it hears of it, saves, and goes on after them."""
        job, run = self.submit("preempt", sets=ENDLESS)
        self.await_step(job, run)
        self.preempt(job, run)
        self.goes_on_by_itself(job, run, "SIGUSR2")

    def test_time_is_over(self):
        """Three seconds before run.margin begins, or more where that is not enough for a step. And the
        task of an array is queued again by itself."""
        for limit, margin in ((1, 0.95), (1, 0.75), (2, 1.0), (4, 1.0)):
            array, run = self.submit(f"time-{limit}-{margin}", f"--time={limit}", "--signal=B:USR2@1",
                                     "--array=7", sets=[*ENDLESS, f"run.margin={margin}"])
            job, run = f"{array}_7", self.dir / f"{run.name}-7"
            self.cluster.wait(lambda job=job: self.restarted(job) or self.cluster.state(job) in OVER,
                              60 * limit + 60, "it stops")
            if (run / "metrics.jsonl").exists() and any(e["step"] for e in events(run, "end")[:1]):
                break
            self.cluster.cancel_all()
        self.goes_on_by_itself(job, run, "the job's time is nearly over")

    def test_array(self):
        """Two runs on a node each, which differ in their seed and what a file says of each."""
        sweep = self.dir / "sweep.txt"
        sweep.write_text("--set train.lr=0.002\n--set train.lr=0.004 --set train.clip=2\n")
        job, run = self.submit("array", "--array=1-2", "--nodes=1", sets=["run.seed=%a"],
                               SHOAL_SWEEP=sweep, SHOAL=f"env SOME=thing {SHOAL}")
        for task in (1, 2):
            self.await_state(f"{job}_{task}", run, "COMPLETED")
        runs = [self.dir / f"array-{task}" for task in (1, 2)]
        self.assertEqual([event["workers"] for r in runs for event in events(r, "start")], [2, 2])
        for task, r in zip((1, 2), runs):
            for option in (f"seed: {task}", f"lr: 0.00{2 * task}", f"clip: {task}"):
                self.assertRegex((r / "config.yaml").read_text(), rf"\n  {option} ")
        self.assertTrue(differences(*runs, 60))

    def test_refused(self):
        """What the run refuses ends the job; it is not queued again."""
        job, run = self.submit("refused", sets=["train.lrr=1"])
        self.await_state(job, run, "FAILED")
        self.assertIn("train.lr", self.output(run))
        self.assertFalse(run.exists())


class Extended(SlurmTest):
    def test_cancelled_under_mpirun(self):
        """It takes as long as Slurm's KillWait."""
        self.is_cancelled("mpirun")

    def test_signal_before_the_time_is_over(self):
        """Slurm looks at its clock every half minute."""
        job, run = self.submit("signal", "--time=2", "--signal=B:USR2@60", sets=[*ENDLESS, "run.margin=0"])
        self.cluster.wait(lambda: self.restarted(job), 120, "it is queued again")
        self.goes_on_by_itself(job, run, "SIGUSR2")

    def test_preempted_at_once(self):
        """Before there is anything to save: it begins anew, later."""
        program = self.dir / "late-program"
        write_program(program, "sleep 6")
        job, run = self.submit("late", sets=ENDLESS, SHOAL=program)
        self.await_state(job, run, "RUNNING")
        self.preempt(job, run)
        self.await_step(job, run)
        self.assertTrue(self.restarted(job), self.output(run))

    def test_preempted_without_grace(self):
        """Slurm ends the job, which saves what it can meanwhile, and queues it again itself."""
        job, run = self.submit("graceless", "--partition=graceless", sets=OFTEN_SAVED)
        self.await_step(job, run)
        self.cluster.wait((run / "latest").exists, 60, "a snapshot")
        self.preempt(job, run)
        self.await_step(job, run, starts=2)
        self.assertGreater(events(run, "start")[1]["step"], 0)

    def test_no_time_at_all(self):
        """A job whose time is over before there is anything to save is not queued for ever."""
        program = self.dir / "never-program"
        write_program(program, "sleep 100")
        job, run = self.submit("never", "--time=1", "--signal=B:USR2@59", sets=ENDLESS, SHOAL=program)
        self.await_state(job, run, "FAILED")
        self.assertIn("came no step further", self.output(run))
        self.assertFalse(self.restarted(job))

    def test_a_node_is_lost(self):
        """Slurm queues the job again by itself, and the run goes on from its last snapshot."""
        job, run = self.submit("node", sets=OFTEN_SAVED)
        self.await_step(job, run)
        self.cluster.wait((run / "latest").exists, 60, "a snapshot")
        self.cluster.ask("scontrol", "update", "nodename=n2", "state=down", "reason=test", check=True)
        self.cluster.wait(lambda: self.restarted(job), 60, "it is queued again")
        self.cluster.ask("scontrol", "update", "nodename=n2", "state=resume", check=True)
        self.await_step(job, run, starts=2)
        self.assertGreater(events(run, "start")[1]["step"], 0)

    def test_a_rank_is_lost(self):
        """It ends the job, which fails, after Slurm's KillWait."""
        job, run = self.submit("lost", sets=OFTEN_SAVED)
        self.await_step(job, run)
        self.cluster.wait((run / "latest").exists, 60, "a snapshot")
        step = f"{SHOAL} train".encode().replace(b" ", b"\0")
        ranks = [pid for pid in processes_with(f"SLURM_JOB_ID={job}") if step in command_of(pid)]
        os.kill(max(ranks), signal.SIGKILL)
        self.await_state(job, run, "FAILED")
        self.assertNotEqual(events(run)[-1]["event"], "end")


if __name__ == "__main__":
    if missing():
        print(f"Slurm is not installed: no {', '.join(missing())}")
        sys.exit(77)
    unittest.main()
