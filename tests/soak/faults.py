"""What can befall a run while it lives, and what may be found damaged afterwards.

A fault is a function of (life, draw): it strikes once, at the moment it is called, and says in a few words
what it did.
"""

import os
import random
import resource
import signal
import time

from harness import SHOAL, children, kill_all


def is_rank(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe") == os.path.realpath(SHOAL)
    except OSError:
        return False


def number_of(pid):
    """The rank that the launcher told a process to be; -1: it is gone."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            settings = file.read().split(b"\0")
    except OSError:
        return -1
    return next((int(s.split(b"=")[1]) for s in settings if s.startswith(b"OMPI_COMM_WORLD_RANK=")), -1)


def ranks_of(process):
    """Process ids of the ranks that are there, in their order."""
    return sorted((pid for pid in children(process.pid) if is_rank(pid)), key=number_of)


def tell(pid, number):
    """Send a signal; whoever has just ended does not mind."""
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def listening(pid):
    """Does it catch SIGUSR1 yet? Before that signals end it, as they do any program that starts."""
    try:
        status = open(f"/proc/{pid}/status", encoding="ascii").read()
    except OSError:
        return False
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)


def wait_for_start(life, draw, seconds):
    """Until the ranks listen, and then up to `seconds` more; now and then not so long."""
    deadline = time.monotonic() + 20
    if draw.random() < 0.8:
        while life.poll() is None and time.monotonic() < deadline:
            ranks = ranks_of(life)
            if ranks and all(map(listening, ranks)):
                break
            time.sleep(0.01)
    time.sleep(draw.uniform(0, seconds))


def nothing(_life, _draw):
    return "nothing"


def kill_worker(life, draw):
    ranks = ranks_of(life)
    if len(ranks) < 2:
        return "killed nobody: not started"
    rank = draw.randrange(1, len(ranks))
    return f"killed a worker: rank {rank}" if tell(ranks[rank], signal.SIGKILL) else "killed nobody: ended"


def kill_coordinator(life, _draw):
    ranks = ranks_of(life)
    return "killed the coordinator" if ranks and tell(ranks[0], signal.SIGKILL) else "killed nobody: ended"


def kill_everyone(life, _draw):
    kill_all(life)
    return "killed all"


def pause(life, draw, longest=1.5):
    """A rank stands still for a while, as on a slow disk or a machine that swaps."""
    ranks = ranks_of(life)
    if not ranks:
        return "paused nobody: not started"
    rank, seconds = draw.randrange(len(ranks)), draw.uniform(0.01, longest)
    tell(ranks[rank], signal.SIGSTOP)
    time.sleep(seconds)
    tell(ranks[rank], signal.SIGCONT)
    return f"paused: rank {rank} for {seconds:.2f} s"


def hang(life, draw):
    """Longer than the others wait where they watch each other closely."""
    return pause(life, draw, longest=4)


def stop(life, draw):
    ranks = ranks_of(life)
    rank = draw.randrange(len(ranks)) if ranks else 0
    number = draw.choice((signal.SIGTERM, signal.SIGINT, signal.SIGUSR2))
    if not ranks or not listening(ranks[rank]):
        return "stopped nobody: not started"
    tell(ranks[rank], number)
    return f"stopped: {number.name} to rank {rank}"


def save(life, draw):
    told = 0
    for _ in range(draw.randrange(1, 4)):
        ranks = [pid for pid in ranks_of(life) if listening(pid)]
        told += bool(ranks) and tell(draw.choice(ranks), signal.SIGUSR1)
        time.sleep(draw.uniform(0, 0.1))
    return f"saved: {told} x SIGUSR1"


def fill_disk(life, draw):
    """No file of some ranks may grow beyond a limit, for a while or to the end."""
    ranks = [pid for pid in ranks_of(life) if listening(pid) and draw.random() < 0.7]
    limit = draw.choice((1, 20_000, 300_000))
    try:
        for pid in ranks:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        if draw.random() < 0.5:
            time.sleep(draw.uniform(0, 1))
            for pid in ranks:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    except ProcessLookupError:
        return "filled the disk: until the end"
    return f"filled the disk: {limit} bytes a file on {len(ranks)} ranks"


FAULTS = {fault.__name__: fault for fault in (nothing, kill_worker, kill_coordinator, kill_everyone,
                                              pause, hang, stop, save, fill_disk)}


def damage(run, draw):
    """Damage one file of the newest snapshot, if there is an older one to fall back to. Returns the
    snapshot's name, "" for none, and words."""
    indexes = sorted((run / "snapshots").glob("step-*.h5"))
    if len(indexes) < 2:
        return "", "damaged nothing: no two snapshots"
    newest = indexes[-1]
    files = sorted(run.glob(f"experts/*/{newest.name}"))
    victim = draw.choice([newest, *files])
    content = bytearray(victim.read_bytes())
    how = draw.choice(("flip", "cut", "remove"))
    if how == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        victim.write_bytes(content)
    elif how == "cut":
        victim.write_bytes(content[:draw.randrange(len(content))])
    else:
        victim.unlink()
    return newest.name, f"damaged: {how} {victim.relative_to(run)}"


def draw_of(seed, number):
    """Randomness of one run, whatever was run before it."""
    return random.Random(f"{seed}/{number}")
