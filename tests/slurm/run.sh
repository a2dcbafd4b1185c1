#!/usr/bin/env bash
# Test slurm/train.sbatch in a real Slurm, from a bare Debian 12 as root or with sudo: install what is
# missing, build, bring up a private cluster in a temporary directory, run jobs, take it down again.
# usage: tests/slurm/run.sh [Slurm|Extended] [-v]
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

install_packages "${BUILD_PACKAGES[@]}" "${SLURM_PACKAGES[@]}"
build_preset release build
export SHOAL="$PWD/build/shoal" PYTHONDONTWRITEBYTECODE=1
SHOAL_MPIEXEC=$(command -v mpirun)
export SHOAL_MPIEXEC
exec /usr/bin/env PATH="/usr/bin:$PATH" python3 tests/slurm/test_slurm.py "$@"
