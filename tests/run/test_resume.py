"""A run that was killed and resumed ends as if nothing had happened, to the bit."""

import shutil
import unittest

import h5py
import numpy as np

from harness import (EVERY_OPERATOR, EXPERTS, RunTest, differences, events, judgings, kill_all,
                     shard_path, wait_until)

BATCH, CONTEXT = 8, 32


class Resume(RunTest):
    def kill_after_first_snapshot(self, out, sets, ranks):
        process = self.begin(out, sets, ranks)
        run = self.dir / out
        try:
            wait_until((run / "snapshots/step-00000020.h5").exists, 30)
        finally:
            kill_all(process)
            process.stderr.close()
        return run

    def kill_and_resume(self, name, sets, ranks):
        sets = ["run.steps=240", *sets]
        whole = self.train(f"{name}-whole", sets, ranks=ranks)
        run = self.kill_after_first_snapshot(f"{name}-killed", sets, ranks)
        self.assertFalse((run / "snapshots/step-00000240.h5").exists(), "it was killed too late")
        self.train(run.name, sets, resume=True, ranks=ranks)
        self.assertEqual(differences(whole, run, 240), [])
        self.assertEqual(judgings(whole), judgings(run))
        self.assertTrue(events(run, "start")[-1]["resumed"])

    def test_killed_with_mpirun(self):
        self.kill_and_resume("mpirun", [], ranks=3)

    def test_killed_alone_with_every_operator(self):
        self.kill_and_resume("alone", EVERY_OPERATOR, ranks=1)

    def two_sessions(self, out, spoil=lambda run: None):
        """Train to 40, let `spoil` touch the run, resume to 60."""
        run = self.train(out, ["run.steps=60"])
        self.forget(run, 60)
        spoil(run)
        self.train(out, ["run.steps=60"], resume=True)
        return run

    @staticmethod
    def forget(run, step):
        """As if the run had been killed before the snapshot at this step."""
        (run / f"snapshots/step-{step:08d}.h5").unlink()
        for expert in range(EXPERTS):
            shard_path(run, expert, step).unlink()

    def test_a_broken_restore_shows(self):
        """Control: one moment of one expert restored wrongly must change the outcome."""
        def spoil(run):
            with h5py.File(shard_path(run, 1, 40), "r+") as file:
                moments = file["optim/m/wpe/weight"]
                values = moments[()]
                values[3, 4] += 1e-3
                moments[...] = values

        whole = self.train("control-whole")
        self.assertEqual(differences(whole, self.two_sessions("control-good"), 60), [])
        self.assertTrue(differences(whole, self.two_sessions("control-bad", spoil), 60))

    def test_leftovers_of_a_killed_writer(self):
        """A half-written newest snapshot is passed over, and temporary files are swept."""
        def truncate(path):
            path.write_bytes(path.read_bytes()[:1000])

        def break_index(run):
            truncate(run / "snapshots/step-00000040.h5")
            (run / "snapshots/.tmp-step-00000060.h5-1").write_bytes(b"half")
            (run / "experts/0002/.tmp-step-00000060.h5-1").write_bytes(b"half")

        def break_shard(run):
            truncate(shard_path(run, 2, 40))

        whole = self.train("writer-whole")
        def flip_weight(run):
            """The attributes are fine: only reading the numbers finds it."""
            path = shard_path(run, 3, 40)
            with h5py.File(path, "r") as file:
                values = file["optim/v/h/1/mlp/c_fc/weight"][()].tobytes()
            data = bytearray(path.read_bytes())
            data[data.index(values[:64]) + 10] ^= 1
            path.write_bytes(data)

        for name, spoil in (("index", break_index), ("shard", break_shard),
                            ("weight", flip_weight)):
            run = self.two_sessions(f"writer-{name}", spoil)
            self.assertEqual(events(run, "start")[-1]["step"], 20, name)
            self.assertEqual(differences(whole, run, 60), [], name)
            self.assertEqual(list(run.rglob(".tmp-*")), [], name)

    def test_no_sample_is_skipped_or_repeated(self):
        """Every expert's cursor counts exactly the sequences of its steps, in both sessions."""
        run = self.two_sessions("cursor")
        for step in (20, 40, 60):
            for expert in range(EXPERTS):
                with h5py.File(shard_path(run, expert, step), "r") as file:
                    state = file["state"].attrs
                    self.assertEqual(state["position"], step * BATCH)
                    self.assertEqual(state["tokens"], step * BATCH * CONTEXT)

    def test_a_moved_run_resumes(self):
        whole = self.train("moved-whole")
        run = self.train("moved-from")
        self.forget(run, 60)
        shutil.move(run, self.dir / "moved-to")
        self.train("moved-to", resume=True)
        self.assertEqual(differences(whole, self.dir / "moved-to", 60), [])

    def test_on_other_ranks(self):
        """Snapshots do not depend on how many workers wrote them: 2 to 1, 1 to 3, 4 to 2."""
        whole = self.train("ranks-whole")
        for before, after in ((3, 2), (1, 4), (5, 3)):
            run = self.train(f"ranks-{before}-{after}", ranks=before)
            self.forget(run, 60)
            self.train(run.name, resume=True, ranks=after)
            self.assertEqual(differences(whole, run, 60), [])

    def test_finished(self):
        run = self.train("finished")
        before = (run / "metrics.jsonl").read_text()
        done = self.attempt("finished", resume=True, ranks=3)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr.count("is finished at step 60"), 1)
        self.assertEqual((run / "metrics.jsonl").read_text(), before)

    def test_finished_but_damaged(self):
        """A run whose last snapshot is damaged is not finished."""
        whole = self.train("spoilt-whole")
        run = self.train("spoilt")
        path = shard_path(run, 1, 60)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        done = self.attempt("spoilt", resume=True, ranks=3)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the last snapshot is damaged", done.stderr)
        self.assertEqual(events(run, "start")[-1]["step"], 40)
        self.assertEqual(differences(whole, run, 60), [])

    def test_ended_before_its_first_snapshot(self):
        """A job script may always resume."""
        whole = self.train("early-whole")
        run = self.train("early", ["run.steps=0"])
        for path in (*run.glob("snapshots/*"), run / "latest"):
            path.unlink()
        done = self.attempt("early", resume=True, ranks=3)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("starting from the beginning", done.stderr)
        self.assertEqual(differences(whole, run, 60), [])

    def test_longer(self):
        """A finished run goes on when it is given more steps; the constant schedule allows it."""
        constant = ["train.schedule=constant"]
        whole = self.train("longer-whole", ["run.steps=60", *constant])
        run = self.train("longer", ["run.steps=40", *constant])
        self.train("longer", ["run.steps=60", *constant], resume=True)
        self.assertEqual(differences(whole, run, 60), [])


class Broken(RunTest):
    def test_an_expert_that_died_is_replaced(self):
        """Weights that become not finite spoil neither the mean nor the run."""
        run = self.train("poison")
        Resume.forget(run, 60)
        with h5py.File(shard_path(run, 2, 40), "r+") as file:
            def poison(_, item):
                if isinstance(item, h5py.Dataset):
                    item[...] = np.full(item.shape, np.nan, item.dtype)
            file["optim"].visititems(poison)
        self.train("poison", resume=True, ranks=3)
        fitness = judgings(run)
        self.assertNotIn(None, fitness[60])
        self.assertLess(max(fitness[60]), max(fitness[20]))


if __name__ == "__main__":
    unittest.main()
