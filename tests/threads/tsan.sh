#!/usr/bin/env bash
# tsan.sh COMMAND...: run it; the first race ends it. 77 where the sanitizer cannot run: some kernels lay
# memory out in more ways than its library knows, and may not be asked to leave that.
set -uo pipefail
known=$(dirname "$0")/suppressions.txt
export TSAN_OPTIONS="halt_on_error=1:exitcode=66:second_deadlock_stack=1:suppressions=$known"
run=()
if setarch "$(uname -m)" -R true 2> /dev/null; then run=(setarch "$(uname -m)" -R); fi
output=$("${run[@]}" "$@" 2>&1)
code=$?
printf '%s\n' "$output"
case "$output" in
    *"unexpected memory mapping"*)
        echo "the thread sanitizer does not know this kernel's memory layout"
        exit 77
        ;;
esac
exit $code
