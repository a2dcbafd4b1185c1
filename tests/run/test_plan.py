"""`shoal plan` against what runs then really take: memory, traffic, files, parameters."""

import json
import os
import pathlib
import subprocess
import unittest

from harness import ENVIRONMENT, RunTest, SHOAL, events

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"
TOLERANCE = 0.05  # of the peak memory
GPT2 = {"gpt2": (12, 768), "gpt2-medium": (24, 1024), "gpt2-large": (36, 1280), "gpt2-xl": (48, 1600)}
CUTS = {"gpt2": 2, "gpt2-medium": 4, "gpt2-large": 4, "gpt2-xl": 6}
LLAMA = {"smollm-135m": 134.5e6, "tinyllama": 1100.0e6}

# Large enough that what a worker holds is mostly its model.
LARGE = ["run.steps=2", "evolution.every=1", "evolution.judge=2", "evolution.fitness_batches=1",
         "snapshot.every=0", "model.layers=6", "model.width=512", "model.heads=8",
         "model.context=256", "train.batch=4", "train.micro_batch=4", "population.experts=1"]
# name: (workers, further options)
REAL_RUNS = {
    "f32": (1, ["train.precision=f32", "model.layers=5"]),
    "bf16, two workers": (2, ["train.precision=bf16", "population.experts=2", "model.layers=8"]),
    "bf16, mlp, three experts": (1, ["train.precision=bf16", "train.recompute=mlp",
                                     "population.experts=3", "model.layers=6", "train.batch=8",
                                     "train.micro_batch=8"]),
    "bf16, block, llama": (1, ["train.precision=bf16", "train.recompute=block", "model.arch=llama",
                               "model.layers=5", "train.batch=8", "train.micro_batch=8"]),
    "f32, every slab, two workers": (
        2, ["train.precision=f32", "population.experts=3", "model.layers=6",
            "evolution.body.inertia=0.5", "evolution.body.cognitive=1",
            "evolution.body.moments=inherit"]),
    "bf16, large vocabulary": (1, ["train.precision=bf16", "model.layers=2", "model.vocab=50257"]),
}


def gpt2_parameters(layers, width, vocab=50257, context=1024):
    """Radford et al. 2019: embeddings, 12 C^2 + 13 C a block, final norm; the head is tied."""
    return (vocab + context) * width + layers * (12 * width * width + 13 * width) + 2 * width


class Plan(RunTest):
    def command(self, config, sets=(), workers=1, further=()):
        line = [SHOAL, "plan", str(config), "--workers", str(workers), *further]
        for item in sets:
            line += ["--set", item]
        return subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=120,
                              check=False)

    def plan(self, config, sets=(), workers=1, further=()):
        done = self.command(config, sets, workers, ["--json", *further])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(done.stdout.splitlines()), 1)
        return json.loads(done.stdout)

    def near(self, foretold, real, share, what=""):
        self.assertLessEqual(abs(foretold - real), share * real,
                             f"{what}: foretold {foretold:,.0f}, really {real:,.0f}")

    # ---- parameters ------------------------------------------------------------------------------

    def test_gpt2_sizes_and_their_cuts(self):
        empty = self.dir / "empty.yaml"
        empty.write_text("{}\n")
        for preset, (layers, width) in GPT2.items():
            for experts in (1, CUTS[preset]):
                sets = [f"model.preset={preset}", f"population.experts={experts}"]
                found = self.plan(empty, sets, workers=experts)
                expert = gpt2_parameters(layers // experts, width)
                self.assertEqual(found["parameters"], {
                    "expert": expert, "all_experts": experts * expert,
                    "uncut": gpt2_parameters(layers, width)}, preset)
                slab = found["memory"]["weights"] / found["experts_per_worker"]
                self.near(slab, 4 * expert, 0.005, preset)  # more by padding
                self.assertEqual(found["memory"]["moments"], 2 * found["memory"]["weights"])
                self.assertEqual(found["memory"]["gradients"], slab)
                self.assertEqual(found["memory"]["bf16_weights"], slab / 2)

    def test_llama_sizes(self):
        empty = self.dir / "empty.yaml"
        empty.write_text("{}\n")
        for preset, parameters in LLAMA.items():
            found = self.plan(empty, [f"model.preset={preset}", "population.experts=1"])
            self.near(found["parameters"]["uncut"], parameters, 0.001, preset)

    def test_examples(self):
        for name, millions, workers in (("gpt2-124m-2x6", 81.9, 2), ("gpt2-774m-4x9", 242.8, 4),
                                        ("gpt2-1558m-6x8", 328.1, 6)):
            found = self.plan(CONFIGS / f"{name}.yaml", workers=workers)
            self.near(found["parameters"]["expert"], millions * 1e6, 0.001, name)
            rare = self.plan(CONFIGS / f"{name}.yaml", ["evolution.every=100"], workers)
            self.assertLessEqual(rare["exchange"]["share"], 0.01)
        for path in CONFIGS.glob("*.yaml"):
            self.assertEqual(self.command(path).returncode, 0, path)

    # ---- memory ----------------------------------------------------------------------------------

    @unittest.skipIf(os.environ.get("SHOAL_SANITIZE") == "1", "sanitizers take memory of their own")
    def test_memory_is_what_workers_take(self):
        wrong = []
        for name, (workers, sets) in REAL_RUNS.items():
            found = self.plan(self.config, [*LARGE, *sets], workers)["memory"]
            run = self.train(name.replace(", ", "-").replace(" ", "-"), [*LARGE, *sets],
                             ranks=1 if workers == 1 else workers + 1)
            real = events(run, "end")[0]["peak_bytes"]
            self.assertEqual(len(real), workers)
            off = found["peak"] / max(real) - 1
            line = (f"{name}: foretold {found['peak'] / 1e6:.0f} MB, held "
                    f"{', '.join(f'{r / 1e6:.0f}' for r in real)} MB, {off:+.1%}")
            print(line)
            self.assertGreater(max(real), 300e6, line)
            if abs(off) > TOLERANCE:
                wrong.append(f"{line}: {found}")
        self.assertEqual(wrong, [])

    def test_what_does_not_fit(self):
        sets = ["model.layers=48", "model.width=1600", "model.heads=25", "model.context=1024",
                "population.experts=6", "train.batch=65536", "train.micro_batch=0"]
        found = self.plan(self.config, sets, workers=6)
        self.assertFalse(found["machine"]["fits"])
        self.assertGreater(found["machine"]["needed_bytes"], found["machine"]["memory_bytes"])
        self.assertIn("DOES NOT FIT", self.command(self.config, sets, 6).stdout)
        spread = self.plan(self.config, sets, workers=6, further=["--machines", "3"])
        self.assertEqual(spread["workers_per_machine"], 2)
        self.assertAlmostEqual(spread["machine"]["needed_bytes"] / spread["memory"]["peak"], 2)

    def test_advice_fits(self):
        """A batch too large at once is cut until it fits, and by no more."""
        sets = ["model.width=512", "model.heads=8", "model.context=1024", "train.batch=65536",
                "train.micro_batch=0", "population.experts=1"]
        advice = self.plan(self.config, sets)["advice"]
        micro = advice["micro_batch"]
        better = [*sets, f"train.recompute={advice['recompute']}"]
        fits = self.plan(self.config, [*better, f"train.micro_batch={micro}"])
        larger = self.plan(self.config, [*better, f"train.micro_batch={2 * micro}"])
        self.assertTrue(fits["machine"]["fits"])
        self.assertNotIn("advice", fits)
        self.assertFalse(larger["machine"]["fits"])

    # ---- traffic and files -----------------------------------------------------------------------

    def test_traffic_is_what_workers_send(self):
        """With one rule of each kind: sums for one group, broadcasts for the other."""
        sets = ["run.steps=20", "evolution.preset=eoe"]
        for workers in (2, 3):
            found = self.plan(self.config, sets, workers)
            run = self.train(f"traffic-{workers}", sets, ranks=workers + 1)
            sent = [event["bytes"] for event in events(run, "round")]
            self.assertTrue(sent)
            for real in sent:
                self.near(found["exchange"]["round_bytes"], real, 0.001, f"{workers} workers")
            parameters = found["parameters"]["uncut"]
            self.assertEqual(found["exchange"]["data_parallel_step_bytes"],
                             8 * (workers - 1) * parameters)
            self.assertAlmostEqual(found["exchange"]["share"] * 5 * 8 * (workers - 1) * parameters,
                                   found["exchange"]["round_bytes"])
        self.assertIsNone(self.plan(self.config, sets)["exchange"]["share"])

    def test_traffic_is_at_most_what_is_foretold(self):
        """The mean, which leads while all are alike, costs more than one expert does."""
        for init in ("same", "different"):
            sets = ["run.steps=40", "evolution.preset=shoal", f"population.init={init}"]
            found = self.plan(self.config, sets, 2)["exchange"]
            rounds = events(self.train(f"most-{init}", sets, ranks=3), "round")
            between = [e["bytes"] for e in rounds if e["step"] % 20 != 0]
            judged = [e["bytes"] for e in rounds if e["step"] % 20 == 0]
            self.assertLessEqual(max(between), 1.001 * found["round_bytes"])
            self.assertLessEqual(max(judged), 1.001 * found["judging_bytes"])
            if init == "same":
                self.near(found["round_bytes"], max(between), 0.001)

    def test_files_are_what_is_written(self):
        for keep in (0, 2):
            sets = ["run.steps=50", "model.width=128", "evolution.body.inertia=0.5",
                    f"snapshot.keep={keep}"]
            found = self.plan(self.config, sets)["files"]
            run = self.train(f"files-{keep}", sets)
            shards = list(run.glob("experts/*/*.h5"))
            indices = list(run.glob("snapshots/*.h5"))
            self.assertEqual(found["kept"], len(indices))
            self.assertEqual(found["snapshots"], len(events(run, "snapshot")))
            for shard in shards:
                self.near(found["shard_bytes"], shard.stat().st_size, 0.02, shard)
            self.near(found["best_bytes"], (run / "best.h5").stat().st_size, 0.02)
            for event in events(run, "snapshot"):
                self.near(found["snapshot_bytes"], event["bytes"], 0.02)

    # ---- time ------------------------------------------------------------------------------------

    def test_time(self):
        """An estimate is no promise; but it is one of this machine, and of this run."""
        sets = ["model.width=128", "run.steps=60"]
        assumed, measured = self.plan(self.config, sets), self.plan(self.config, sets,
                                                                     further=["--measure"])
        self.assertEqual(assumed["compute"]["how"], "assumed")
        self.assertEqual(measured["compute"]["how"], "measured")
        tokens = 60 * 4 * 8 * 32
        for found in (assumed["compute"], measured["compute"]):
            self.assertEqual(found["tokens"], tokens)
            self.assertEqual(found["train_flops"], tokens * found["flops_per_token"])
            self.assertGreater(found["run_s"], tokens / found["tokens_per_s"])
        run = self.train("time", sets)
        real = events(run, "end")[0]["time"]
        self.assertLess(measured["compute"]["run_s"], 5 * real)
        self.assertGreater(measured["compute"]["run_s"], real / 20)

    # ---- what it says ----------------------------------------------------------------------------

    def test_it_reads_well_and_writes_nothing(self):
        before = sorted(self.dir.rglob("*"))
        done = self.command(self.config, workers=2)
        self.assertEqual(done.returncode, 0, done.stderr)
        for word in ("Parameters", "Memory of a worker", "activations", "Exchange",
                     "share of data parallel", "Files in", "tokens/s"):
            self.assertIn(word, done.stdout)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 130)
        self.assertEqual(sorted(self.dir.rglob("*")), before)

    def test_for_a_device_that_is_elsewhere(self):
        """Planned on a laptop: slabs are the same and on the GPU; real steps cannot be timed."""
        here, there = (self.plan(self.config, [f"device={device}"])["memory"]
                       for device in ("cpu", "cuda"))
        for item in ("weights", "moments", "gradients", "activations", "mean"):
            self.assertEqual(there[item], here[item], item)
        self.assertEqual((here["device"], here["pinned"], here["driver_context"]), (0, 0, 0))
        on_host = ("batch", "exchange_buffers", "snapshot_buffers", "snapshot_copies", "program",
                   "pinned_stage", "parked_experts")
        sums = ("peak", "pinned", "device")
        self.assertEqual(there["device"], sum(n for item, n in there.items()
                                              if item not in (*on_host, *sums)))
        self.assertGreater(there["driver_context"], 100e6)
        self.assertLess(there["peak"], here["peak"])
        shown = self.command(self.config, ["device=cuda"]).stdout
        self.assertIn("Memory of a worker's GPU", shown)
        self.assertIn("on the GPU", shown)
        done = self.command(self.config, ["device=cuda"])
        if done.stderr:  # no GPU here, or a build without CUDA
            self.assertIn("warning: plan: times below are those of this machine's CPU", done.stderr)
            measured = self.command(self.config, ["device=cuda"], further=["--measure"])
            self.assertIn(measured.returncode, (2, 4))
            self.assertIn("shoal: error: device: ", measured.stderr)

    def test_without_token_files(self):
        for sets in (["data.train=", "data.val="], ["data.train=/none/such_*.bin"]):
            done = self.command(self.config, sets)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("data.train", done.stdout)

    def refused(self, code, *fragments, **how):
        done = self.command(**{"config": self.config, **how})
        self.assertEqual(done.returncode, code, done.stderr)
        for fragment in ("shoal: error: ", *fragments):
            self.assertIn(fragment, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_errors(self):
        self.refused(2, "5 workers", "4 experts", workers=5)
        self.refused(2, "--workers 0", workers=0)
        self.refused(2, "--machines 3", "2", workers=2, further=["--machines", "3"])
        self.refused(2, "model.width", sets=["model.heads=3"])
        self.refused(2, "train.lrr", "train.lr", sets=["train.lrr=1"])
        self.refused(2, "--measured", "--measure", further=["--measured"])
        self.refused(3, "absent.yaml", config=self.dir / "absent.yaml")
        (self.dir / "broken.bin").write_bytes(b"plain text, no shard " * 100)
        self.refused(3, "broken.bin", sets=[f"data.train={self.dir}/broken.bin"])


if __name__ == "__main__":
    unittest.main()
