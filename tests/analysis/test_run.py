"""`Run` against the files themselves, read with json and h5py alone."""
import json
import math
import os
import unittest

import h5py
import numpy as np
from harness import EVERY_OPERATOR, events, shard_path
from shoal_analysis import Run, RunError
from small import SmallRun, made_up


class OfOneRun(SmallRun):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.path = cls.small(cls(), "gpt2", EVERY_OPERATOR, ranks=3)
        cls.run_ = Run(cls.path)

    def test_configuration(self):
        c = self.run_.config
        self.assertEqual((c["run.steps"], c["train.lr"], c["evolution.recombine"]), (24, 0.003, True))
        self.assertEqual(c["data.train"], f"{self.dir}/data/train_*.bin")
        self.assertEqual(c["model.preset"], "")
        self.assertEqual(c["evolution.body.crossover_by"], "row")
        self.assertEqual(c["train.eps"], 1e-8)

    def test_history_is_that_of_the_file(self):
        self.assertEqual(len(self.run_.history), 4)
        for k, history in enumerate(self.run_.history):
            mine = [e for e in events(self.path, "step") if e["expert"] == k]
            for key in ("step", "time", "loss", "lr", "grad_norm", "tokens", "tokens_per_s"):
                self.assertEqual(list(getattr(history, key)), [e[key] for e in mine], key)

    def test_judgings_and_best(self):
        told = events(self.path, "judge")
        j = self.run_.judgings
        self.assertEqual([list(row) for row in j.fitness], [e["fitness"] for e in told])
        self.assertEqual(list(j.step), [0, 8, 16, 24])
        self.assertTrue(j.recombine)
        end, best = events(self.path, "end")[0], self.run_.best
        self.assertEqual((best.member, best.step, best.fitness),
                         (end["best"], end["best_step"], end["best_fitness"]))
        with h5py.File(self.path / "best.h5") as file:
            self.assertEqual(best.fitness, file.attrs["fitness"])

    def test_rounds_and_lineage(self):
        told = events(self.path, "round")
        r, lineage = self.run_.rounds, self.run_.lineage
        self.assertEqual(list(zip(r.step, r.source, r.seconds, r.bytes)),
                         [(e["step"], e["source"], e["seconds"], e["bytes"]) for e in told])
        self.assertEqual(lineage.rounds.sum(), 4 * len(told))
        for event in told:
            for expert in range(4):
                mine = ((lineage.expert == expert) & (lineage.first <= event["step"])
                        & (lineage.last >= event["step"]))
                self.assertEqual(list(lineage.parent[mine]), [event["source"]])

    def test_experts_are_as_their_shards_say(self):
        for expert in self.run_.experts:
            with h5py.File(shard_path(self.path, expert.number, 24)) as file:
                self.assertEqual((expert.parent, expert.tokens, expert.fitness),
                                 (file.attrs["parent"], file.attrs["tokens"], file.attrs["fitness"]))

    def test_weights(self):
        self.assertEqual([s.step for s in self.run_.snapshots], [8, 16, 24])
        for step in (8, 24):
            weights = self.run_.weights(2, step)
            with h5py.File(shard_path(self.path, 2, step)) as file:
                for name in ("wte.weight", "h.0.attn.c_attn.weight", "h.1.ln_2.bias"):
                    np.testing.assert_array_equal(weights[name], file["params/" + name.replace(".", "/")][...])
            self.assertEqual(weights.count, self.run_.params)
        with h5py.File(self.path / "best.h5") as file:
            np.testing.assert_array_equal(self.run_.weights()["wte.weight"], file["params/wte/weight"][...])
        velocity = self.run_.snapshot(24).weights(1, "evo/velocity")
        self.assertEqual(set(velocity), set(self.run_.weights(1)))

    def test_what_is_not_there(self):
        for call, word in ((lambda: self.run_.weights(9), "no expert 9"),
                           (lambda: self.run_.weights(0, 5), "there are 8, 16, 24"),
                           (lambda: Run(self.dir / "data"), "not the directory of a run"),
                           (lambda: Run(self.path / "config.yaml"), "is a file"),
                           (lambda: Run(self.dir / "none"), "does not exist")):
            with self.assertRaisesRegex(RunError, word):
                call()
        with self.assertRaisesRegex(KeyError, "no tensor"):
            self.run_.weights(0)["wte"]


class Histories(SmallRun):
    """What makes one history of several sessions."""

    def test_a_resumed_run_is_one_history(self):
        path = self.small("sessions", ranks=2)
        whole = Run(path)
        self.assertEqual([len(whole.history[0].step), len(whole.judgings), len(whole.rounds)], [6, 4, 6])   # read now
        # As after a kill: records of lost work, the last line torn.
        steps = [e for e in events(path) if e["event"] in ("start", "worker") or e["step"] <= 20]
        text = "".join(json.dumps(e) + "\n" for e in steps)
        strays = "".join(json.dumps({"event": "step", "time": 9e3, "step": step, "expert": 1, "loss": 77.0}) + "\n"
                         for step in (18, 20))   # what the next session repeats, and what it does not
        (path / "metrics.jsonl").write_text(text + strays + '{"event":"step","ti')
        (path / "snapshots/step-00000024.h5").unlink()
        killed = Run(path)
        self.assertFalse(killed.finished)
        self.assertEqual((killed.step, killed.problems), (20, []))
        self.assertEqual(killed.history[1].loss[-1], 77.0)
        self.small("sessions", resume=True, ranks=2)
        again = Run(path)
        self.assertEqual([s.resumed for s in again.metrics.sessions], [False, True])
        self.assertGreater(again.metrics.sessions[0].lost_s, 0)
        for a, b in zip(whole.history, again.history):
            np.testing.assert_array_equal(a.step, b.step)
            np.testing.assert_array_equal(a.loss, b.loss)
        np.testing.assert_array_equal(whole.judgings.fitness, again.judgings.fitness)
        np.testing.assert_array_equal(whole.rounds.step, again.rounds.step)
        self.assertTrue((np.diff(again.judgings.time) > 0).all())

    def test_what_later_versions_may_write(self):
        told = made_up(self.dir / "later", 3, 100, log=50)
        with open(self.dir / "later/metrics.jsonl", "a", encoding="utf-8") as file:
            for event in ({"event": "lost", "time": 1.0, "step": 50, "worker": 1, "reason": "no heartbeat"},
                          {"event": "epoch", "time": 2.0, "step": 50, "workers": [0, 2]},
                          *({"event": "lineage", "time": 3.0, "step": 100, "expert": k, "kind": "moved", "body": b,
                             "io": i, "distance": 0.25, "lr_scale": 1.5} for k, b, i in
                            ((0, 2, 3), (1, -1, 2), (2, -1, -1))),
                          {"event": "step", "time": 4.0, "step": 100, "expert": 9, "loss": None}):
                file.write(json.dumps(event) + "\n")
            file.write("not json\n[1, 2]\n")
        run = Run(self.dir / "later")
        self.assertEqual([e["event"] for e in run.metrics.incidents], ["lost", "epoch"])
        self.assertIn("2 lines could not be read", run.problems[0])
        at_end = {int(k): int(p) for k, p in zip(run.lineage.expert, run.lineage.parent)}
        self.assertEqual((at_end[0], at_end[1]), (2, 2))
        self.assertFalse(((run.lineage.expert == 2) & (run.lineage.last == 100)).any())
        self.assertEqual(list(run.moves.distance), [0.25] * 3)
        self.assertEqual(len(run.judgings), sum(e["event"] == "judge" for e in told))
        self.assertEqual(run.config["evolution.preset"], "a # b")

    def test_numbers_that_were_not_finite(self):
        made_up(self.dir / "nan", 2, 50, log=50, recombine=False)
        text = json.dumps({"event": "judge", "time": 99, "step": 60, "fitness": [None, None], "best": -1,
                           "best_fitness": None})
        with open(self.dir / "nan/metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(text + "\n")
        run = Run(self.dir / "nan")
        self.assertTrue(np.isnan(run.judgings.fitness[-1]).all())
        self.assertLess(run.best.step, 60)
        self.assertTrue(math.isnan(run.experts[0].fitness))

    def test_only_snapshots(self):
        """Without metrics.jsonl and config.yaml the newest snapshot tells."""
        path = self.dir / "world"
        self.assertEqual(os.spawnl(os.P_WAIT, os.environ["MAKE_RUN"], "make_run", str(path)), 0)
        run = Run(path)
        self.assertEqual((run.n_experts, run.step, run.config["model.width"]), (3, 16, 20))
        self.assertEqual(list(run.judgings.best), [3, -1, 2])
        self.assertEqual((run.best.member, run.best.fitness), (2, 2.0))
        (path / "experts/0001/step-00000016.h5").unlink()
        self.assertIn("experts/0001", " ".join(Run(path).problems))


if __name__ == "__main__":
    unittest.main()
