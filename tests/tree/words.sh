#!/usr/bin/env bash
# Nothing in the tree depends on the machine it was written on. The patterns are spelt so that they do
# not match themselves.
set -euo pipefail
# shellcheck source=tests/tree/common.sh
source "$(dirname "$0")/common.sh"

patterns='/wor[k]/|\.\./share[d]|/hom[e]/[a-z]|/roo[t]/|deb\.debian\.or[g]|pypi\.or[g]|localhos[t]'
if grep -rnIE "$patterns" --exclude-dir=.git --exclude=.git --exclude-dir='build*' --exclude-dir=runs .; then
    echo "the lines above name places of one machine"
    exit 1
fi
