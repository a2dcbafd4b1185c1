"""The same run on 1, 2, 3 and 5 ranks ends with the same bits, whatever the rule."""

import unittest

from harness import EVERY_OPERATOR, RunTest, differences, events, judgings

RANKS = (2, 3, 5)


class Ranks(RunTest):
    def same_on_all(self, name, sets):
        alone = self.train(f"{name}-1", sets)
        for ranks in RANKS:
            run = self.train(f"{name}-{ranks}", sets, ranks=ranks)
            self.assertEqual(differences(alone, run, 40), [], f"{name}: 1 and {ranks} ranks")
            self.assertEqual(judgings(alone), judgings(run))
            self.assertEqual(events(run, "start")[0]["workers"], ranks - 1)
        return alone

    def test_shoal(self):
        self.same_on_all("shoal", ["run.steps=40", "evolution.preset=shoal"])

    def test_eoe(self):
        self.same_on_all("eoe", ["run.steps=40", "evolution.preset=eoe"])

    def test_koifish(self):
        self.same_on_all("koifish", ["run.steps=40", "evolution.preset=koifish"])

    def test_none(self):
        self.same_on_all("none", ["run.steps=40", "evolution.preset=none"])

    def test_every_operator_and_bf16(self):
        self.same_on_all("all", ["run.steps=40", "train.precision=bf16",
                                 "population.init=different", *EVERY_OPERATOR])

    def test_rules_differ(self):
        """Control for the tests above: the comparison sees a difference where there is one."""
        first = self.train("differ-a", ["run.steps=40", "evolution.preset=shoal"])
        second = self.train("differ-b", ["run.steps=40", "evolution.preset=eoe"])
        self.assertTrue(differences(first, second, 40))

    def test_it_learns(self):
        run = self.train("learns")
        first, *_, last = sorted(judgings(run).items())
        self.assertEqual((first[0], last[0]), (0, 60))
        self.assertLess(min(last[1]), min(first[1]) - 1.0)


if __name__ == "__main__":
    unittest.main()
