#!/usr/bin/env bash
# Shell scripts pass shellcheck.
set -euo pipefail
# shellcheck source=tests/tree/common.sh
source "$(dirname "$0")/common.sh"
need shellcheck
shell_files | xargs shellcheck --external-sources
