#!/usr/bin/env bash
# C sources are as clang-format writes them.
set -euo pipefail
# shellcheck source=tests/tree/common.sh
source "$(dirname "$0")/common.sh"
need clang-format
c_files | xargs clang-format --dry-run -Werror
