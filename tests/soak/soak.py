#!/usr/bin/env python3
"""Many short runs of several ranks, each disturbed at random moments, resumed, and compared.

  soak.py [--runs N | --minutes M] [--seed S] [--only NUMBER]

Every run draws its rules and its number of ranks, then lives up to three times. In each life something
befalls it (faults.py): a rank or all are killed, one stands still, signals come, the disk fills up; between
two lives a file of the newest snapshot may be damaged. In some lives the launcher lets the others live when a
rank dies: then they go on, and what the lost one had is missing. It must never hang, never lose a snapshot that was
whole, resume each time, and, where nobody was lost, end with the bits of a run that was left alone. A run that fails is named by
its number: --seed and --only repeat it.
"""

import argparse
import collections
import json
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "run"))
# pylint: disable=wrong-import-position
from harness import ENVIRONMENT, EVERY_OPERATOR, SHOAL, RunTest, command, differences, events, judgings, kill_all
import faults

STEPS, EXPERTS = 90, 5
PATIENCE_S = 90  # for one life; it takes two seconds on an idle machine
SETS = [f"run.steps={STEPS}", "model.layers=10", f"population.experts={EXPERTS}", "evolution.judge=10",
        "snapshot.every=10", "snapshot.keep=3", "run.log=1"]
WATCHFUL = ["faults.heartbeat=0.2", "faults.deadline=1.5"]
RULES = {
    "default": [],
    "every operator": EVERY_OPERATOR,
    "delayed": ["evolution.delay=2", "evolution.fragments=2"],
    "narrow": ["evolution.wire=bf16", "evolution.delay=1"],
    "waiting for the disk": ["snapshot.async=false"],
    "tournament": ["evolution.preset=tournament"],
    "independent": ["evolution.preset=none"],
}


class Wrong(Exception):
    """The run did what it must not."""


class Place(RunTest):
    """A place to run in, and the undisturbed runs to compare with; one for each list of rules."""

    wholes = {}

    def runTest(self):
        pass

    def whole(self, rules):
        if rules not in self.wholes:
            begun = time.monotonic()
            run = self.train(f"whole-{len(self.wholes)}", [*SETS, *RULES[rules]], ranks=3)
            self.wholes[rules] = run, time.monotonic() - begun
        return self.wholes[rules]


def verify(run):
    done = subprocess.run([SHOAL, "verify", str(run), "--json"], capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)
    return json.loads(done.stdout)


def fault_codes(fault, recovers):
    """Exit codes that a life may end with: mpirun gives that of the first rank that failed, or 1. Where
    others live on, whoever stands still is lost."""
    if recovers:
        return {0, 1, 3, 5, 143, 130, -9}
    if fault in (faults.nothing, faults.pause, faults.hang, faults.save):
        return {0}
    return {0, 3} if fault is faults.fill_disk else {0, 1, 5, 137, 143, 130, -9}


class Run:
    """One disturbed run."""

    def __init__(self, place, seed, number):
        self.draw = faults.draw_of(seed, number)
        self.place = place
        self.rules = self.draw.choice(sorted(RULES))
        self.ranks = self.draw.randrange(3, 7)
        self.out = place.dir / f"run-{number}"
        self.told = [f"{self.rules}, {self.ranks} ranks"]
        self.said = ""
        self.damaged = set()  # names of snapshots that may be found damaged until they are written anew

    def newest(self):
        return verify(self.out)["newest_good"] if (self.out / "config.yaml").exists() else -1

    def live(self, fault, recovers):
        """From the newest snapshot, or from nothing, until it ends. Returns its exit code."""
        resume = (self.out / "snapshots").exists()
        sets = [*SETS, *RULES[self.rules], *(WATCHFUL if recovers else [])]
        line = command(self.place.config, self.out, sets, resume, self.ranks)
        environment = {**ENVIRONMENT, "OMPI_MCA_orte_enable_recovery": str(int(recovers))}
        with (self.place.dir / "output.txt").open("w+") as output:
            life = subprocess.Popen(line, env=environment, stdout=output, stderr=subprocess.STDOUT)
            try:
                if fault is not faults.nothing:
                    faults.wait_for_start(life, self.draw, self.place.whole(self.rules)[1])
                    self.told.append(fault(life, self.draw) + (" (others live on)" if recovers else ""))
                life.wait(PATIENCE_S)
            except subprocess.TimeoutExpired as error:
                raise Wrong(f"hangs; processes {faults.ranks_of(life)}") from error
            finally:
                kill_all(life)
                output.seek(0)
                self.said = output.read()
        return life.returncode

    def look(self, before):
        """What is on disk is good, but for what was damaged, and the newest snapshot is still there."""
        found = verify(self.out)
        wrong = [f for f in found["findings"] if pathlib.Path(f["path"]).name not in self.damaged]
        if wrong:
            raise Wrong(f"verify finds {wrong}")
        if found["newest_good"] < before:
            raise Wrong(f"the snapshot of step {before} is lost")

    def disturbed_life(self):
        before = self.newest()
        fault = faults.FAULTS[self.draw.choice(sorted(faults.FAULTS))]
        recovers = self.draw.random() < 0.4
        code = self.live(fault, recovers)
        if code not in fault_codes(fault, recovers):
            raise Wrong(f"exit code {code}")
        if not (self.out / "config.yaml").exists():  # it has not begun
            return
        self.look(before)
        if self.draw.random() < 0.25:
            name, words = faults.damage(self.out, self.draw)
            self.damaged.add(name)
            self.told.append(words)

    def last_life(self):
        code = self.live(faults.nothing, recovers=False)
        if code != 0:
            raise Wrong(f"exit code {code}")
        if findings := verify(self.out)["findings"]:
            raise Wrong(f"verify finds {findings}")
        if len(events(self.out, "end")) < 1:
            raise Wrong("the end is not recorded")
        if events(self.out, "lost"):
            self.told.append("lost")
            return
        whole = self.place.whole(self.rules)[0]
        if different := differences(whole, self.out, STEPS, EXPERTS):
            raise Wrong(f"other bits than a run that was left alone: {different[:5]}")
        if judgings(whole) != judgings(self.out):
            raise Wrong("judged otherwise than a run that was left alone")

    def go(self):
        for _ in range(self.draw.randrange(1, 4)):
            self.disturbed_life()
        self.last_life()


def one(place, seed, number, counts):
    """True when all was right."""
    run, begun = Run(place, seed, number), time.monotonic()
    try:
        run.go()
        wrong = None
        shutil.rmtree(run.out)
    except Exception as error:  # pylint: disable=broad-except  # whatever it is, the others go on
        wrong = f"{type(error).__name__}: {error}"
    print(f"{number}: {'; '.join(run.told)}: {wrong or 'as it must'} ({time.monotonic() - begun:.1f} s)",
          flush=True)
    if wrong:
        print(f"  kept in {run.out}; it said:\n{run.said}", flush=True)
    counts.update(word.split(":")[0] for word in run.told[1:])
    return wrong is None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--minutes", type=float, help="as many runs as begin in this time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="that run alone")
    return parser.parse_args()


def main():
    args = arguments()
    Place.setUpClass()
    place, counts, failed, begun = Place(), collections.Counter(), [], time.monotonic()
    numbers = [args.only] if args.only is not None else range(args.runs if not args.minutes else 10**6)
    done = 0
    for number in numbers:
        if args.minutes and time.monotonic() - begun > 60 * args.minutes:
            break
        done += 1
        if not one(place, args.seed, number, counts):
            failed.append(number)
    if not failed:
        Place.tearDownClass()
    print(f"{done} runs in {(time.monotonic() - begun) / 60:.1f} minutes: "
          + ", ".join(f"{n} x {what}" for what, n in sorted(counts.items())))
    if failed:
        sys.exit(f"wrong: runs {failed} of seed {args.seed}")


if __name__ == "__main__":
    main()
