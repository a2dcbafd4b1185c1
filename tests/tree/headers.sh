#!/usr/bin/env bash
# Every header compiles alone, as C11, in both compilers. Usage: headers.sh ROOT INCLUDE_DIR...
set -euo pipefail
# shellcheck source=tests/tree/common.sh
source "$(dirname "$0")/common.sh"
need clang
need gcc
shift

# CUDA's own headers need not be here: those of the tests stand in for them.
includes=(-Isrc -Itests -isystem tests/emulated/include)
for dir in "$@"; do includes+=(-isystem "$dir"); done

# check COMPILER HEADER
check() {
    "$1" -x c -std=c11 -Wall -Wextra -Werror -Wno-unused-function -fsyntax-only -fopenmp \
        -D_POSIX_C_SOURCE=200809L -DSHOAL_KERNELS_PRIVATE= -DSHOAL_COMM_PRIVATE= "${includes[@]}" - <<< "#include \"$2\""
}

status=0
for header in $(find src tests -name '*.h' -not -path 'tests/emulated/include/*' | sed -E 's,^(src|tests)/,,' | LC_ALL=C sort); do
    check gcc "$header" && check clang "$header" || status=1
done
exit "$status"
