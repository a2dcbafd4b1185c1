#!/usr/bin/env python3
"""Who may include whom. Usage: layers.py ROOT (or --self-test)"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)

SCALARS = ["config/config.h"]  # what a decision may depend on
LEDGER = ["evo/plan.h", "evo/select.h", "evo/cadence.h", "evo/live.h", "evo/ledger.h", "evo/owners.h",
          "evo/protocol.h"]
MODEL = ["model/params.h", "model/expert.h", "model/gpt.h", "model/decoder.h", "model/flops.h"]
DATA = ["data/data.h", "data/tokenize.h", "data/tokenizer.h"]
SNAPSHOT = ["snapshot/index.h", "snapshot/interchange.h", "snapshot/shard.h",
            "snapshot/staging.h", "snapshot/verify.h"]
KERNELS = ["kernels/kernels.h"]
OUTLIER = ["optim/outlier.h"]  # scalars too
RUN = ["comm/comm.h", "worker/worker.h", "coordinator/coordinator.h"]
# What a run will take, before it runs.
PLAN = ["worker/exchange.h", "worker/memory.h", "worker/pace.h", "worker/peak.h", "worker/slice.h",
        "evo/operators.h"]

# Files by the beginning of their path; the first match decides. A file may include the headers
# listed, those of its own folder unless it says ALONE, and those of base/.
ALONE = "alone"
ALLOWED = [
    ("base/", []),
    ("config/", []),
    ("data/", []),
    ("kernels/", SCALARS),
    ("model/", SCALARS + KERNELS),
    ("optim/outlier.", SCALARS + OUTLIER + [ALONE]),
    ("optim/", SCALARS + KERNELS + MODEL),
    ("evo/cadence.", SCALARS + LEDGER + [ALONE]),
    ("evo/live.", SCALARS + LEDGER + [ALONE]),
    ("evo/plan.", SCALARS + LEDGER + [ALONE]),
    ("evo/select.", SCALARS + LEDGER + [ALONE]),
    ("evo/owners.", [ALONE]),
    ("evo/ledger.", SCALARS + LEDGER + [ALONE]),
    ("evo/protocol.", SCALARS + LEDGER + [ALONE]),
    ("evo/", SCALARS + KERNELS + MODEL),
    ("comm/", KERNELS),
    ("snapshot/", SCALARS + KERNELS + MODEL + OUTLIER + ["evo/plan.h", "evo/live.h", "evo/ledger.h"]),
    ("coordinator/", SCALARS + LEDGER + OUTLIER + ["comm/comm.h", "snapshot/index.h"]),
    ("worker/", SCALARS + KERNELS + MODEL + LEDGER + ["evo/operators.h", "data/data.h",
                                                      "optim/optim.h", "comm/comm.h"] + SNAPSHOT),
    ("commands/", SCALARS + KERNELS + MODEL + LEDGER + DATA + SNAPSHOT + RUN + PLAN
     + ["coordinator/format.h"]),
    ("main.c", ["commands/commands.h", ALONE]),
]

# Libraries, and the only places that may know them.
LIBRARIES = [
    (r"mpi\.h", ["comm/"]),
    (r"nccl\.h", ["comm/nccl"]),
    (r"hdf5(_hl)?\.h|H5\w*\.h", ["snapshot/"]),
    (r"(oneapi/dnnl/)?dnnl\w*\.h", ["kernels/cpu/"]),
    (r"(cuda|cublas|cudnn|curand)\w*\.(h|hpp)", ["kernels/cuda/", "comm/nccl"]),
    (r"yaml\.h", ["config/"]),
    (r"json-c/\w+\.h", ["base/json_read"]),
    (r"omp\.h", ["kernels/cpu/"]),
]


def may_include(path, header):
    prefix, allowed = next((p, a) for p, a in ALLOWED if path.startswith(p))
    own = prefix.split("/")[0] + "/"
    return (header.startswith("base/") or header in allowed
            or (ALONE not in allowed and header.startswith(own)))


def wrong_include(path, quote, header):
    """Why path may not include header; None if it may."""
    if quote == '"':
        if "/" not in header:
            return "name the folder too"
        return None if may_include(path, header) else "against the direction of the layers"
    for pattern, places in LIBRARIES:
        if re.fullmatch(pattern, header) and not any(path.startswith(p) for p in places):
            return "belongs only in " + ", ".join(places)
    return None


def problems(path, text):
    for quote, header in INCLUDE.findall(text):
        reason = wrong_include(path, quote, header)
        if reason:
            yield f"src/{path}: includes {header}: {reason}"
    if "SHOAL_CUDA" in text and path not in ("kernels/kernels.c", "comm/comm.c"):
        yield f"src/{path}: SHOAL_CUDA belongs only where backends and transports are listed"


def self_test():
    bad = [("base/log.c", '#include "config/config.h"'), ("evo/plan.c", '#include "model/expert.h"'),
           ("coordinator/state.c", '#include "evo/operators.h"'), ("model/gpt.c", "#include <mpi.h>"),
           ("coordinator/loop.c", '#include "kernels/kernels.h"'), ("evo/plan.h", '# include <hdf5.h>'),
           ("worker/train.c", '#include "data/shard.h"'), ("data/data.c", '#include "shard.h"'),
           ("kernels/network.c", "#include <oneapi/dnnl/dnnl.h>"), ("main.c", "#ifdef SHOAL_CUDA"),
           ("kernels/kernels.c", "#include <cuda_runtime_api.h>"),
           ("model/gpt.c", "#include <cublasLt.h>"), ("comm/slabs.c", "#include <nccl.h>"),
           ("worker/train.c", '#include "kernels/cuda/cuda.h"')]
    good = [("data/data.c", '#include "data/shard.h"\n#include "base/memory.h"\n#include <glob.h>'),
            ("comm/slabs.c", "#include <mpi.h>"), ("evo/operators.c", '#include "model/expert.h"'),
            ("kernels/cpu/gemm.c", "#include <oneapi/dnnl/dnnl.h>"),
            ("kernels/cuda/device.cuh", '#include <cuda_runtime.h>\n#include "kernels/cuda/cuda.h"'),
            ("kernels/cuda/gemm.c", "#include <cublasLt.h>"), ("kernels/kernels.c", "SHOAL_CUDA")]
    return ([f"not found: {b}" for b in bad if not list(problems(*b))]
            + [f"wrongly found: {g}" for g in good if list(problems(*g))])


def check_tree(source):
    files = sorted(f for f in source.rglob("*") if f.suffix in (".c", ".h", ".cu", ".cuh"))
    assert len(files) > 20, f"no sources under {source}"
    return [p for f in files for p in problems(f.relative_to(source).as_posix(), f.read_text())]


found = self_test() + check_tree(pathlib.Path(sys.argv[1]) / "src")
print("\n".join(found) or "ok")
sys.exit(bool(found))
