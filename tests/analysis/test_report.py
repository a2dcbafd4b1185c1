"""`shoal report`: the page as a browser would see it, its numbers as the files have them."""
import html.parser
import json
import os
import pathlib
import re
import time
import unittest
import urllib.parse
import xml.etree.ElementTree as xml

import h5py
import numpy as np
from harness import events, shard_path
from small import SmallRun, made_up


class Page(html.parser.HTMLParser):
    """Structure, tables of numbers and everything that a browser would load."""

    VOID = {"meta", "link", "br", "img", "hr", "input"}
    OPTIONAL = {"th", "td", "li", "p", "tr"}   # may stay open

    def __init__(self, path):
        super().__init__()
        self.text = pathlib.Path(path).read_text(encoding="utf-8")
        self.csv, self.loads, self.links, self.ids, self.open = {}, [], [], [], []
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "a" and "download" in attributes:
            head, body = attributes["href"].split(",", 1)
            assert head == "data:text/csv;charset=utf-8", head
            lines = urllib.parse.unquote(body).strip().split("\n")
            self.csv[attributes["download"][:-4]] = [line.split(",") for line in lines]
        elif tag == "a":
            self.links.append(attributes["href"])
        else:
            self.loads += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "poster")]
        if tag in ("script", "link", "iframe", "object", "embed", "img"):
            self.loads.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        while self.open and self.open[-1] != tag and self.open[-1] in self.OPTIONAL:
            self.open.pop()
        assert self.open and self.open[-1] == tag, (tag, self.open[-5:])
        self.open.pop()

    def column(self, table, name):
        """Numbers by step, NaN where a cell is empty."""
        head, *rows = self.csv[table]
        at = head.index(name)
        return [float(row[at]) if row[at] else float("nan") for row in rows]


class ReportTest(SmallRun):
    def page(self, *runs, out="page.html", seconds=20.0):
        begin = time.monotonic()
        self.report(*runs, "--out", out)
        self.assertLess(time.monotonic() - begin, seconds)
        page = Page(self.dir / out)
        self.look(page)
        return page

    def look(self, page):
        """What holds for every page."""
        self.assertFalse(page.open, page.open)
        self.assertFalse(page.loads, "the page loads something")
        self.assertFalse(re.search(r"https?://|url\(\s*[^#)]|@import|<script", page.text), "not self-contained")
        self.assertLess(len(page.text.encode()), 3_000_000)
        self.assertEqual(len(page.ids), len(set(page.ids)), "ids are not unique")
        self.assertLessEqual({link[1:] for link in page.links}, set(page.ids), "a link leads nowhere")
        self.assertFalse(re.findall(r".{60}(?:\bnan\b|\bNaN\b|\binf\b|None\b)", page.text))
        self.assertIn("prefers-color-scheme: dark", page.text)
        self.assertIn("@media print", page.text)
        for svg in re.findall(r"<svg.*?</svg>", page.text, re.S):
            self.look_at_plot(xml.fromstring(svg))

    def look_at_plot(self, svg):
        """Both axes are labelled, no text leaves the plot, and a screen reader has a title and a text."""
        width, height = map(float, svg.get("viewBox").split()[2:])
        self.assertTrue(svg.find("title").text and svg.find("desc").text)
        self.assertEqual(svg.get("role"), "img")
        labels = [t.text for t in svg.findall(".//text[@class='label']")]
        self.assertGreaterEqual(len([t for t in labels if t]), 2, svg.find("title").text)
        for text in svg.findall(".//text"):
            wide = 6.0 * len(text.text or "")   # of 12 px digits, a little less than they are
            at, anchor = float(text.get("x")), text.get("text-anchor")
            left = at - (wide if anchor == "end" else wide / 2 if anchor == "middle" else 0)
            self.assertGreaterEqual(left, -2, text.text)
            self.assertLessEqual(left + wide, width + 2, text.text)
            self.assertTrue(0 < float(text.get("y")) < height, text.text)

    def equal(self, found, expected):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


class OneRun(ReportTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        test = cls()
        cls.path = cls.small(test, "eoe", ["evolution.preset=eoe"], ranks=3)
        cls.first = cls.page(test, cls.path)

    def test_numbers_of_metrics(self):
        page, told = self.first, events(self.path)
        for k in range(4):
            mine = [e for e in told if e["event"] == "step" and e["expert"] == k]
            self.equal(page.column("loss", "step"), [e["step"] for e in mine])
            self.equal(page.column("loss", f"loss_expert_{k}"), [e["loss"] for e in mine])
            self.equal(page.column("gradients", f"grad_norm_expert_{k}"), [e["grad_norm"] for e in mine])
        judged = [e for e in told if e["event"] == "judge"]
        for k in range(4):
            self.equal(page.column("fitness", f"fitness_{k}"), [e["fitness"][k] for e in judged])
            self.equal(page.column("advantage", f"millinats_{k}"),
                       [1000 * (e["fitness"][k] - min(e["fitness"][:4])) for e in judged])
        rounds = [e for e in told if e["event"] == "round"]
        self.equal(page.column("rounds", "bytes"), [e["bytes"] for e in rounds])
        self.equal(page.column("rounds", "seconds"), [e["seconds"] for e in rounds])
        self.equal(page.column("snapshots", "stall_s"), [e["stall_s"] for e in told if e["event"] == "snapshot"])
        self.equal(page.column("memory", "peak_bytes"), [e for e in told if e["event"] == "end"][0]["peak_bytes"])
        self.assertEqual([row[2] for row in page.csv["leader"][1:]], [f"#{e['best']}" for e in judged])

    def weights(self, step, slab="params"):
        """(experts, n) and, by tensor, its columns."""
        rows, where = [], {}
        for k in range(4):
            parts, at = [], 0
            with h5py.File(shard_path(self.path, k, step)) as file:
                names = []
                file[slab].visititems(lambda n, i: names.append(n) if isinstance(i, h5py.Dataset) else None)
                for name in names:
                    parts.append(file[slab][name][...].ravel().astype(np.float64))
                    where[name.replace("/", ".")] = slice(at, at + len(parts[-1]))
                    at += len(parts[-1])
            rows.append(np.concatenate(parts))
        return np.array(rows), where

    def test_numbers_of_weights(self):
        page = self.first
        steps, found = [8, 16, 24], page.column("apart", "mean")
        for i, step in enumerate(steps):
            x, _ = self.weights(step)
            pairs = [np.linalg.norm(x[a] - x[b]) for a in range(4) for b in range(a)]
            self.assertAlmostEqual(found[i], np.mean(pairs) / np.linalg.norm(x, axis=1).mean(), places=5)
        last, where = self.weights(24)
        first, _ = self.weights(16)
        moved = np.linalg.norm(last[2] - first[2]) / np.linalg.norm(first[2]) / 8 * 100 * 100
        self.assertAlmostEqual(page.column("moves", "percent_per_100_steps_expert_2")[-1] / moved, 1, places=4)
        moments, _ = self.weights(24, "optim/m")
        for name, weights, of_m in page.csv["tensors"][1:]:
            for told, x in ((weights, last[:, where[name]]), (of_m, moments[:, where[name]])):
                apart = np.sqrt(((x - x.mean(axis=0)) ** 2).mean() / (x ** 2).mean()) if x.any() else 0.0
                self.assertAlmostEqual(float(told), apart, places=5)

    def test_projection_keeps_distances(self):
        """The two components are those of the singular value decomposition, up to signs."""
        page = self.first
        x = np.concatenate([self.weights(step)[0] for step in (8, 16, 24)])
        u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        for i, name in enumerate(("first", "second")):
            found, expected = np.array(page.column("paths", name)), u[:, i] * s[i]
            self.assertLess(min(abs(found - expected).max(), abs(found + expected).max()), 1e-3 * s[0])

    def test_summary(self):
        text, end = self.first.text, events(self.path, "end")[0]
        self.assertIn(f"<b>{end['best_fitness']:.4f}</b>", text)
        self.assertRegex(text, r"leads at step 24 with a fitness of \d")
        self.assertIn("of data parallel&#x27;s", text)
        self.assertIn("finished · step 24 of 24", text)

    def test_two_runs(self):
        other = self.small("shoal", ["train.lr=0.01"], ranks=2)
        page = self.page(self.path, other, out="two.html")
        for prefix in ("a-", "b-"):
            self.assertIn(prefix + "loss", page.csv)
        options = re.search(r"Options that differ.*?</table>", page.text, re.S)[0]
        self.assertRegex(options, r"train\.lr</code></th><td>0\.003</td><td>0\.01</td>")
        self.assertNotIn("run.seed", options)
        best = [min(e["fitness"]) for e in events(other, "judge")]
        found = [float(row[2]) for row in page.csv["c-fitness"][1:] if row[0] == "shoal"]
        self.equal(found, best)
        # The rule of the second run leaves its experts equal.
        self.assertIn("all experts hold the same weights", page.text)

    def test_where_it_goes(self):
        told = json.loads(self.report(self.path, "--out", "x.html", "--json"))
        self.assertEqual(told, {"report": "x.html", "bytes": os.path.getsize(self.dir / "x.html")})
        self.report(self.path)
        self.assertTrue((self.dir / "report.html").exists())
        self.assertFalse(list(self.dir.glob(".tmp-*")))

    def test_errors(self):
        for arguments, word, code in (([self.dir / "none"], "does not exist", 3), ([], "RUN", 2),
                                      ([self.path, self.path, self.path], "", 2),
                                      ([self.path, "--out", "none/x.html"], "No such file", 3)):
            said = self.report(*arguments, expect=code)
            self.assertIn("shoal: error: ", said)
            self.assertIn(word, said)
        for variables, word in (({"SHOAL_PYTHON": "/nothing"}, "is not installed"),
                                ({"SHOAL_ANALYSIS": "/"}, "no shoal_report.py")):
            self.assertIn(word, self.report(self.path, expect=3, **variables))

    def test_python_without_modules(self):
        """It is passed over for the next one, or named when there is no other."""
        fake = self.dir / "fake"
        fake.mkdir()
        (fake / "python3").write_text("#!/bin/sh\nexit 79\n")
        (fake / "python3").chmod(0o755)
        said = self.report(self.path, expect=3, SHOAL_PYTHON=str(fake / "python3"))
        self.assertIn("python3-h5py", said)
        if os.environ["SHOAL_PYTHON"] == "/usr/bin/python3":   # the next one, on Debian
            self.report(self.path, SHOAL_PYTHON=None, PATH=f"{fake}:{os.environ['PATH']}")


class OtherRuns(ReportTest):
    def test_llama(self):
        path = self.small("llama", ["model.arch=llama", "evolution.preset=eoe", "model.kv_heads=1"])
        page = self.page(path)
        self.assertTrue(any(row[0].startswith("model.layers.0.") for row in page.csv["tensors"][1:]))
        self.assertIn(">self_attn.q_proj.weight<", page.text)

    def test_no_steps(self):
        path = self.small("empty", ["run.steps=0", "eval.every=0"])
        self.assertIn("leads at step 0", self.page(path).text)

    def test_nothing_recorded_yet(self):
        made_up(self.dir / "nothing", 4, 0)
        (self.dir / "nothing/metrics.jsonl").write_text("")
        self.assertIn("No member has been judged", self.page(self.dir / "nothing").text)

    def test_killed(self):
        path = self.small("killed", ranks=2)
        text = (path / "metrics.jsonl").read_text()
        (path / "metrics.jsonl").write_text(text[:int(0.7 * len(text))])
        (path / "snapshots/step-00000024.h5").write_bytes(b"torn")
        page = self.page(path)
        self.assertIn("running or killed", page.text)
        self.assertIn("step-00000024.h5: cannot be opened", page.text)

    def test_incidents(self):
        path = self.dir / "incidents"
        made_up(path, 2, 20)
        start = {"event": "start", "time": 15.0, "step": 10, "resumed": True, "experts": 2, "members": 3, "workers": 4,
                 "steps": 20}
        with open(path / "metrics.jsonl", "a", encoding="utf-8") as file:
            for event in ({"event": "lost", "time": 14.0, "step": 9, "worker": 3, "reason": "<no heartbeat>"}, start,
                          {"event": "step", "time": 16.0, "step": 11, "expert": 1, "loss": 9.0, "tokens": 704,
                           "skipped": True, "reason": "grad_norm"},
                          {"event": "end", "time": 17.0, "step": 11, "why": "SIGTERM", "peak_bytes": [1e8, 0]}):
                file.write(json.dumps(event) + "\n")
        text = self.page(path).text
        for words in ("worker 3, reason &lt;no heartbeat&gt;", "1 step skipped, because of grad norm",
                      "1 session ended without a word and was resumed", "stopped: SIGTERM", "stopped (SIGTERM) · step 11"):
            self.assertIn(words, text)

    def test_losses_that_are_not_finite(self):
        made_up(self.dir / "bad", 3, 20)
        text = (self.dir / "bad/metrics.jsonl").read_text()
        (self.dir / "bad/metrics.jsonl").write_text(re.sub(r'"(loss|grad_norm)": [\d.e-]+', r'"\1": null', text))
        self.page(self.dir / "bad")
        (self.dir / "bad/metrics.jsonl").write_text(re.sub(r'"fitness": \[[^]]*\], "best": \d+, "best_fitness": [\d.]+',
                                                   '"fitness": [null, null, null, null], "best": -1, '
                                                   '"best_fitness": null', text))
        self.page(self.dir / "bad")

    def test_strange_names(self):
        made_up(self.dir / "a<b>&c", 2, 10)
        self.assertIn("<h1>a&lt;b&gt;&amp;c</h1>", self.page(self.dir / "a<b>&c").text)

    def test_many_experts(self):
        told = made_up(self.dir / "many", 64, 400, log=10, judge=20)
        page = self.page(self.dir / "many")
        self.assertIn("all 64 experts", page.text)
        self.assertLess(page.text.count("<li>"), 200)
        of_60 = [e["loss"] for e in told if e["event"] == "step" and e["expert"] == 60]
        self.equal(page.column("loss", "loss_expert_60"), of_60)

    def test_a_hundred_thousand_records(self):
        """Thinned, but no peak is lost."""
        told = made_up(self.dir / "long", 8, 13000, log=1, judge=100)
        self.assertGreater(len(told), 100_000)
        page = self.page(self.dir / "long")
        rows = page.csv["loss"]
        self.assertLess(len(rows), 5000)
        self.assertRegex(page.text, r"CSV, every \d+th row")
        by_step = {(e["step"], e["expert"]): e["loss"] for e in told if e["event"] == "step"}
        for row in rows[1::97]:
            self.equal([float(v) for v in row[1:]], [by_step[int(row[0]), k] for k in range(8)])
        self.assertEqual(int(rows[-1][0]), 13000)


if __name__ == "__main__":
    unittest.main()
