"""metrics.jsonl tells what the run did, with the keys users rely on."""

import unittest

from harness import EXPERTS, RunTest, events

KEYS = {
    "worker": {"worker", "peak_flops_per_s"},
    "step": {"expert", "loss", "lr", "grad_norm", "tokens", "tokens_per_s", "mfu"},
    "judge": {"fitness", "best"},
    "round": {"source", "seconds", "bytes"},
    "snapshot": {"seconds", "stall_s", "bytes"},
}
TOKENS_PER_STEP = 8 * 32


class Metrics(RunTest):
    def setUp(self):
        self.run_dir = self.train(self.id(), ranks=3)
        self.events = events(self.run_dir)  # every line parses

    def of(self, kind):
        return [event for event in self.events if event["event"] == kind]

    def test_keys_and_times(self):
        for event in self.events:
            self.assertLessEqual({"event", "time", "step"}, event.keys())
            self.assertLessEqual(KEYS.get(event["event"], set()), event.keys())
        times = [event["time"] for event in self.events]
        self.assertEqual(times, sorted(times))
        for kind in KEYS:
            self.assertTrue(self.of(kind), kind)

    def test_steps(self):
        logged = {(event["expert"], event["step"]): event for event in self.of("step")}
        expected = {(expert, step) for expert in range(EXPERTS) for step in range(5, 61, 5)}
        self.assertEqual(logged.keys(), expected)
        for (_, step), event in logged.items():
            self.assertEqual(event["tokens"], step * TOKENS_PER_STEP)
            self.assertGreater(event["tokens_per_s"], 0)
            self.assertLessEqual(event["lr"], 0.003)

    def test_utilisation(self):
        """Model FLOPs as a share of the worker's peak; experts 0 and 1 are worker 0's."""
        peaks = {event["worker"]: event["peak_flops_per_s"] for event in self.of("worker")}
        self.assertEqual(peaks.keys(), {0, 1})
        layers, width, context, vocab = 2, 32, 32, 256
        flops = 6 * (12 * layers * width**2 + width * vocab) + 6 * layers * width * context
        for event in self.of("step"):
            peak = peaks[event["expert"] // 2]
            self.assertAlmostEqual(event["mfu"], event["tokens_per_s"] * flops / peak, places=12)
            self.assertGreater(event["mfu"], 0)

    def test_nothing_was_skipped(self):
        self.assertEqual(self.of("end")[0]["skipped"], 0)
        self.assertFalse([event for event in self.of("step") if "skipped" in event])

    def test_judgings(self):
        self.assertEqual([event["step"] for event in self.of("judge")], [0, 20, 40, 60])
        for event in self.of("judge"):
            self.assertEqual(len(event["fitness"]), EXPERTS + 1)
            self.assertEqual(min(event["fitness"]), event["fitness"][event["best"]])

    def test_rounds(self):
        self.assertEqual([event["step"] for event in self.of("round")], list(range(0, 60, 5)))
        best = {event["step"]: event["best"] for event in self.of("judge")}
        params = self.of("start")[0]["params"]
        for event in self.of("round"):
            self.assertEqual(event["source"], best[event["step"] // 20 * 20])
            # Two workers: a broadcast is one slab. A mean travels as parts and as sums, and a
            # judging makes it too. A slab is a little more than its parameters.
            judged, is_mean = event["step"] % 20 == 0, event["source"] == EXPERTS
            slabs = 3 if is_mean else 4 if judged else 1
            self.assertAlmostEqual(event["bytes"] / (4 * params), slabs, delta=0.2 * slabs)
            self.assertGreaterEqual(event["stall_s"], event["seconds"])

    def test_snapshots(self):
        self.assertEqual([event["step"] for event in self.of("snapshot")], [20, 40, 60])
        for event in self.of("snapshot"):
            shards = self.run_dir.glob(f"experts/*/step-{event['step']:08d}.h5")
            sizes = sum(path.stat().st_size for path in shards)
            index = self.run_dir / f"snapshots/step-{event['step']:08d}.h5"
            self.assertIn(event["bytes"], (sizes, sizes + index.stat().st_size))


if __name__ == "__main__":
    unittest.main()
