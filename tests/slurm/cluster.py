"""A private Slurm cluster on this machine: a munged, a slurmctld and two slurmd of its own, with their
own ports, sockets and key, in a temporary directory. Nothing of it is left after `with Cluster() as c`.

The nodes n1 and n2 are two names of this host, which Slurm allows for tests (man slurmd, -N). It runs as
whoever starts it; jobs then run as that user.
"""

import contextlib
import getpass
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin"
OVER = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL")

# proctrack/linuxproc and task/none: control groups belong to the machine's own Slurm or container.
# cred_expire is also how long a requeued job waits. Jobs of partition urgent take the nodes of those of
# main, which hear of it by the signal that they have asked for. The GPUs exist in Slurm's books only.
CONF = """
ClusterName=shoal
SlurmctldHost={host}({address})
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={dir}/munge/socket,cred_expire=5
CryptoType=crypto/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool/%n
TmpFS={dir}/tmp/%n
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/%n.pid
SlurmctldLogFile={dir}/log/slurmctld
SlurmdLogFile={dir}/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
JobRequeue=1
KillWait=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
NodeName=n1 NodeHostname={host} NodeAddr={address} Port={ports[1]} CPUs=4 RealMemory=1000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr={address} Port={ports[2]} CPUs=4 RealMemory=1000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=graceless Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""


def missing():
    """Programs of Slurm that are not installed."""
    names = (*DAEMONS, "sbatch", "srun", "scontrol", "scancel", "squeue")
    return [name for name in names if not shutil.which(name, path=PATH)]


def free_ports(count):
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def processes_with(variable):
    """Ids of all processes that have NAME=value in their environment, but this one."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable.encode() in path.read_bytes().split(b"\0") and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:  # gone meanwhile, or another user's
            continue
    return found


class Cluster:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="shoal-slurm-"))
        self.dir.chmod(0o755)  # munged insists that others can reach its socket
        self.conf = self.dir / "slurm.conf"
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.conf)}
        self.daemons = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- up and down -----------------------------------------------------------------------------

    def start(self):
        for name in ("munge", "log", "state", "spool/n1", "spool/n2", "tmp/n1", "tmp/n2"):
            (self.dir / name).mkdir(parents=True)
        self.conf.write_text(CONF.format(dir=self.dir, user=getpass.getuser(), address="127.0.0.1",
                                         host=socket.gethostname().split(".")[0], ports=free_ports(3)))
        (self.dir / "gres.conf").write_text("Name=gpu File=/dev/null,/dev/zero\n")
        munge = self.dir / "munge"
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o400)
        self.daemon("munged", "--foreground", "--force", f"--socket={munge}/socket",
                    f"--key-file={munge}/key", f"--log-file={munge}/log",
                    f"--pid-file={munge}/pid", f"--seed-file={munge}/seed")
        self.wait(lambda: (munge / "socket").exists(), 10, "munged opens its socket")
        self.daemon("slurmctld", "-D", "-f", self.conf)
        for node in ("n1", "n2"):
            self.daemon("slurmd", "-D", "-f", self.conf, "-N", node)
        self.wait(lambda: self.ask("sinfo", "-h", "-o", "%T %D").split() == ["idle", "2"], 20,
                  "both nodes are idle")

    def daemon(self, name, *arguments):
        """One that ends with this process, whatever ends it."""
        line = ["setpriv", "--pdeathsig", "KILL", name, *map(str, arguments)]
        with open(self.dir / "log" / f"{name}.out", "ab") as log:
            self.daemons.append(subprocess.Popen(line, env=self.environment, stdout=log, stderr=log,
                                                 stdin=subprocess.DEVNULL, start_new_session=True))

    def stop(self):
        """Jobs first, then the daemons, munged last as the others ask it, then what jobs left behind."""
        if self.daemons:
            with contextlib.suppress(TimeoutError, RuntimeError, subprocess.TimeoutExpired):
                self.cancel_all()
        while self.daemons:
            daemon = self.daemons.pop()
            daemon.terminate()
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for pid in processes_with(f"SLURM_CONF={self.conf}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if "SHOAL_KEEP" not in os.environ:
            shutil.rmtree(self.dir, ignore_errors=True)

    # ---- commands --------------------------------------------------------------------------------

    def ask(self, *line, check=False, **environment):
        settings = {key: str(value) for key, value in environment.items()}
        done = subprocess.run([*map(str, line)], env={**self.environment, **settings}, capture_output=True, text=True,
                              timeout=60, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, line))}: {done.stdout}{done.stderr}")
        return done.stdout

    def cancel_all(self):
        """Until no job is left."""
        self.ask("scancel", "--user", getpass.getuser())
        self.wait(lambda: not self.ask("squeue", "--noheader"), 60, "all jobs are gone")

    def wait(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            for daemon in self.daemons:
                if daemon.poll() is not None:
                    raise RuntimeError(f"a daemon of Slurm ended: {daemon.args}\n{self.logs()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds} s: {what}\n{self.logs()}")
            time.sleep(0.05)

    def logs(self):
        return "\n".join(f"--- {path.name}\n" + "\n".join(path.read_text().splitlines()[-15:])
                         for path in sorted((self.dir / "log").iterdir()))

    def submit(self, *arguments, **environment):
        return self.ask("sbatch", "--parsable", *arguments, check=True, **environment).strip()

    def show(self, job):
        """Fields of `scontrol show job`; {} for a job that is forgotten."""
        return dict(re.findall(r"(\S+?)=(\S*)", self.ask("scontrol", "-o", "show", "job", job)))

    def state(self, job):
        return self.show(job).get("JobState", "")
