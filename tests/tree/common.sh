# What the checks of the source tree share. To be sourced; the first argument of each is the root.
# shellcheck shell=bash

cd "${1:?usage: ${0##*/} ROOT}" || exit 1

# need TOOL: ctest counts exit code 77 as skipped; the last line says why.
need() {
    command -v "$1" > /dev/null && return 0
    echo "$1 is not installed"
    exit 77
}

# C, CUDA, and the C++ that stands in for CUDA in tests.
c_files() {
    find src tests bench -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' |
        LC_ALL=C sort
}

shell_files() {
    printf '%s\n' quickstart check .ci/run slurm/train.sbatch
    find scripts tests bench -name '*.sh' | LC_ALL=C sort
}
