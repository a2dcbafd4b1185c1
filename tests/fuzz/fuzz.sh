#!/usr/bin/env bash
# Run one of the fuzz targets.
set -euo pipefail

usage() {
    cat << 'EOF'
usage: tests/fuzz/fuzz.sh TARGET [--minutes N | --runs N | --replay FILE] [--build DIR]

Lets libFuzzer look for inputs that break TARGET (config, tokens, tokenizer, json, foreign, llmc, shard or
index), from those in tests/fuzz/corpus and those that tests/fuzz/seeds.py made. What it learns stays in
DIR/learned/TARGET, from which the next run goes on; a finding is left in DIR/findings.

  --minutes N    for so long (10)
  --runs N       so many inputs, from a fixed seed, keeping nothing: what ./check does
  --replay FILE  only this input; what is refused is printed
  --build DIR    where the preset fuzz was built (build-fuzz)
EOF
}

die() {
    printf 'fuzz.sh: error: %s\n' "$*" >&2
    exit 2
}

build=build-fuzz how=(-max_total_time=600) replay='' keep=yes
target=${1-}
case "$target" in
    "" | --help | -h)
        usage
        exit 0
        ;;
esac
shift
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || die "$1 needs a value; see --help"
    case "$1" in
        --minutes) how=(-max_total_time=$(($2 * 60))) ;;
        --runs) how=(-runs="$2" -seed=1) keep=no ;;
        --replay) replay=$2 ;;
        --build) build=$2 ;;
        *) die "unknown argument '$1'; see --help" ;;
    esac
    shift 2
done

here=$(cd "$(dirname "$0")" && pwd)
program=$build/tests/fuzz/fuzz_$target
[ -x "$program" ] || die "$program is not built: cmake --preset fuzz && cmake --build build-fuzz"
# A request for more memory than any of the inputs can be worth is a finding.
limits=(-malloc_limit_mb=256 -rss_limit_mb=2048 -timeout=60)
export UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=quarantine_size_mb=32

if [ -n "$replay" ]; then
    FUZZ_SAY=1 exec "$program" "${limits[@]}" "$replay"
fi
mkdir -p "$build/learned/$target" "$build/findings"
corpora=("$build/tests/fuzz/seeds/$target")
[ ! -d "$here/corpus/$target" ] || corpora+=("$here/corpus/$target")
learned=$build/learned/$target
if [ $keep = no ]; then
    learned=$(mktemp -d)
    trap 'rm -r "$learned"' EXIT
fi
"$program" "${how[@]}" "${limits[@]}" -max_len=16384 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$target-" "$learned" "${corpora[@]}"
