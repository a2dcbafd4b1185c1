"""A run that goes on with more experts: what was there goes on as if nothing had happened, what joins is
a copy of a good expert or new, and all of it is the same on any number of workers."""

import json
import shutil
import subprocess
import unittest

import h5py
import numpy as np

from harness import EVERY_OPERATOR, SHOAL, RunTest, events, shard_path, shard_state, wait_until

# An expert has two layers, however many there are.
DEPTH = ["model.layers=0", "population.layers_per_expert=2", "train.schedule=constant",
         "evolution.fitness_batches=2"]
ALONE = ["evolution.preset=none", "evolution.recombine=false"]
BATCH, CONTEXT = 8, 32


def same(run_a, run_b, step, experts):
    """Names of what differs between these experts of two runs."""
    found = []
    for expert in experts:
        a, b = (shard_state(shard_path(run, expert, step)) for run in (run_a, run_b))
        assert a.keys() == b.keys(), sorted(a.keys() ^ b.keys())
        found += [f"{expert}:{name}" for name in a if a[name] != b[name]]
    return found


def weights(run, expert, step, group="params"):
    found = {}
    with h5py.File(shard_path(run, expert, step), "r") as file:
        file[group].visititems(lambda name, item: found.update({name: item[()].tobytes()})
                               if isinstance(item, h5py.Dataset) else None)
    return found


class Grow(RunTest):
    def two(self, out, sets, ranks=1):
        """Two experts, trained to step 20."""
        return self.train(out, [*DEPTH, *sets, "population.experts=2", "run.steps=20"], ranks=ranks)

    def grow(self, out, sets, experts=4, steps=40, ranks=1):
        return self.train(out, [*DEPTH, *sets, f"population.experts={experts}", f"run.steps={steps}"],
                          resume=True, ranks=ranks)

    def copy(self, run, name):
        """The same run elsewhere."""
        shutil.copytree(run, self.dir / name, symlinks=True)
        return self.dir / name

    def verify(self, run):
        done = subprocess.run([SHOAL, "verify", run, "--json"], capture_output=True, text=True, check=False)
        report = json.loads(done.stdout)
        self.assertEqual((done.returncode, report["findings"]), (0, []), done.stderr)

    def test_what_was_there_goes_on(self):
        """Experts that do not follow each other must not notice that there are more."""
        for grow in ("clone", "init"):
            small = self.two(f"alone-{grow}", ALONE)
            large = self.copy(small, f"alone-{grow}-4")
            self.grow(small.name, ALONE, experts=2)
            self.grow(large.name, [*ALONE, f"population.grow={grow}"])
            self.assertEqual(same(small, large, 40, (0, 1)), [])
            self.verify(large)

    def test_what_joins_is_a_copy(self):
        still = [*ALONE, "train.lr=0", "population.init=different", "population.lr_spread=2"]
        run = self.two("copies", still)
        self.grow(run.name, still, experts=5)
        fitness = events(run, "judge")[1]["fitness"]
        best, worst = np.argsort(fitness)
        with h5py.File(run / "latest", "r") as index:
            joined = index["ledger/joined"][()]
            table = index["ledger/fitness"][()]
        parents = [best, worst, best]
        self.assertEqual(joined.tolist(), [(20, 2 + i, p) for i, p in enumerate(parents)])
        self.assertEqual([(e["step"], e["expert"], e["parent"]) for e in events(run, "joined")],
                         joined.tolist())
        self.assertTrue(np.isnan(table[0, 2:]).all())
        self.assertEqual(table[1].tolist(), fitness + [fitness[p] for p in parents])
        for number, parent in zip((2, 3, 4), parents):
            self.assertEqual(weights(run, number, 40), weights(run, parent, 20))
            with h5py.File(shard_path(run, number, 40), "r") as new, \
                    h5py.File(shard_path(run, parent, 40), "r") as old:
                self.assertEqual(new.attrs["parent"], parent)
                self.assertEqual(new["state"].attrs["position"], 20 * BATCH)
                self.assertEqual(new["state"].attrs["lr_scale"], old["state"].attrs["lr_scale"])
                self.assertEqual(new.attrs["tokens"], 40 * BATCH * CONTEXT)
                first = new["history/lineage"][0]
                self.assertEqual((first["step"], first["body"], first["io"], first["kind"]),
                                 (20, parent, parent, 2))
                self.assertEqual(new["history/judgings"]["step"].tolist(), [40])
                # The moments went on from the parent's, on other text.
                self.assertNotEqual(new["optim/m/wpe/weight"][()].tobytes(),
                                    old["optim/m/wpe/weight"][()].tobytes())

    def test_what_joins_is_new(self):
        still = [*ALONE, "train.lr=0", "population.grow=init"]
        run = self.two("new", still)
        self.grow(run.name, still, experts=3)
        fresh = self.train("fresh", [*DEPTH, *ALONE, "population.experts=3", "run.steps=0",
                                     "population.init=different"])
        self.assertEqual(weights(run, 2, 40), weights(fresh, 2, 0))
        with h5py.File(shard_path(run, 2, 40), "r") as file:
            self.assertEqual((file.attrs["parent"], file.attrs["tokens"]), (-1, 20 * BATCH * CONTEXT))
            self.assertEqual(file["state"].attrs["step"], 20)

    def test_on_any_number_of_workers_and_resumed_again(self):
        for name, sets in (("mean", []), ("all", EVERY_OPERATOR), ("top", ["evolution.preset=copy"])):
            start = self.two(f"{name}-2", sets)
            whole = self.grow(self.copy(start, f"{name}-1").name, sets, steps=60)
            for ranks in (3, 5) if name == "mean" else (3,):
                run = self.grow(self.copy(start, f"{name}-{ranks}").name, sets, steps=60, ranks=ranks)
                self.assertEqual(same(whole, run, 60, range(4)), [], (name, ranks))
            twice = self.grow(self.copy(start, f"{name}-twice").name, sets, steps=40, ranks=3)
            self.grow(twice.name, sets, steps=60)
            self.assertEqual(same(whole, twice, 60, range(4)), [], name)
            with h5py.File(whole / "latest", "r") as index, h5py.File(start / "latest", "r") as before:
                table, old = index["ledger/fitness"][()], before["ledger/fitness"][()]
                members = 4 + (old.shape[1] - 2)
                self.assertEqual(table.shape, (4, members))
                np.testing.assert_array_equal(table[:2, :2], old[:, :2])
                np.testing.assert_array_equal(table[:2, 4:], old[:, 2:])
                best = before["ledger/judgings"]["best"]
                self.assertEqual(index["ledger/judgings"]["best"][:2].tolist(),
                                 [4 if b == 2 else b for b in best])
            for run in (whole, twice):
                self.verify(run)

    def test_the_best_from_before(self):
        """best.h5 may be the mean of fewer experts than there are now."""
        run = self.two("champion", [])
        spoilt = ["train.lr=0.003", "population.grow=clone"]
        with h5py.File(run / "latest", "r") as index:
            self.assertEqual(int(index.attrs["champion"]), 2, "the mean is not the best: no test")
        before = (run / "best.h5").read_bytes()
        # Held back by a limit that lets nothing better be found.
        self.grow(run.name, [*spoilt, "run.minutes=0"], steps=20)
        self.verify(run)
        self.assertEqual((run / "best.h5").read_bytes(), before)

    def test_between_two_judgings(self):
        """A run that was stopped anywhere."""
        far = ["evolution.judge=100000", "snapshot.every=0", "run.log=1"]
        for sets in ([], [*ALONE, "population.grow=init"]):
            name = f"halted-{len(sets)}"
            process = self.begin(name, [*DEPTH, *far, *sets, "population.experts=2", "run.steps=100000"])
            run = self.dir / name
            wait_until(lambda: (run / "metrics.jsonl").exists() and len(events(run, "step")) > 20, 60)
            process.terminate()
            self.assertEqual(process.wait(60), 0, process.stderr.read())
            process.stderr.close()
            with h5py.File(run / "latest", "r") as index:
                step = int(index.attrs["step"])
                self.assertEqual(int(index.attrs["judged_step"]), 0)
            self.verify(run)
            again = self.copy(run, f"{name}-again")
            for grown, ranks in ((again, 3), (run, 1)):
                self.grow(grown.name, [*far, *sets], steps=step + 10, ranks=ranks)
                self.verify(grown)
            self.assertEqual(same(run, again, step + 10, range(4)), [])

    def test_more_again_and_the_report(self):
        run = self.two("report", [])
        self.grow(run.name, [], experts=3, steps=40)
        self.grow(run.name, [], experts=6, steps=60, ranks=3)
        self.verify(run)
        with h5py.File(run / "latest", "r") as index:
            self.assertEqual(index["ledger/joined"]["expert"].tolist(), [2, 3, 4, 5])
            self.assertEqual(index["ledger/joined"]["step"].tolist(), [20, 40, 40, 40])
        for line in (["inspect", run], ["inspect", shard_path(run, 5, 60)],
                     ["report", run, "--out", run / "report.html"]):
            done = subprocess.run([SHOAL, *map(str, line)], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
        page = (run / "report.html").read_text()
        self.assertIn("joined", page)
        self.assertIn("Distance to the attractor", page)


class Refused(RunTest):
    def refused(self, sets, *says):
        before = (self.dir / "run/config.yaml").read_bytes()
        done = self.attempt("run", sets, resume=True)
        self.assertNotEqual(done.returncode, 0)
        for text in says:
            self.assertIn(text, done.stderr)
        self.assertEqual((self.dir / "run/config.yaml").read_bytes(), before)

    def test_what_cannot_be(self):
        self.train("run", ["run.steps=20"])
        more = ["run.steps=40"]
        self.refused([*more, "population.experts=2"], "was '4'", "shoal merge")
        self.refused([*more, "population.experts=8"], "has 1 layers now", "had 2",
                     "set population.layers_per_expert to 2 and model.layers to 0")
        deep = ["model.layers=16", "population.experts=8"]
        self.refused([*more, *deep, "population.grow=init"], "population.grow init", "use population.grow clone")
        self.refused([*more, *deep, "train.batch=4"], "train.batch")
        self.train("run", [*more, *deep, "train.schedule=cosine"], resume=True)
        self.assertTrue(shard_path(self.dir / "run", 7, 40).exists())


if __name__ == "__main__":
    unittest.main()
