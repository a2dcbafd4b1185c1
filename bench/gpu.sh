#!/usr/bin/env bash
# Everything that only a machine with a GPU can show, in one command and under ten minutes.
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
    cat << 'EOF'
usage: bench/gpu.sh OUT_DIR [--build DIR] [--python PYTHON] [--llmc COMMAND]

Runs every test that wants a GPU, compute-sanitizer on a small training step, every kernel beside
ceilings measured in the same run, and training steps of three models; writes all output, the figures
as JSON and a description of the machine to OUT_DIR, and prints a short table last. A part that fails
or takes too long does not stop the others. Exit code: 0 all passed, 1 some failed, 3 no GPU.

  --build DIR       a tree built already (default: build-gpu, built first for this machine's GPU); in a
                    bundle of scripts/bundle.sh the programs beside this script are used
  --python PYTHON   an interpreter with torch: the same steps there too
  --llmc COMMAND    llm.c's trainer with its arguments: the tokens a second that it prints
EOF
}

# die TEXT [CODE]
die() {
    printf 'gpu.sh: error: %s\n' "$1" >&2
    exit "${2:-2}"
}

# ---- parts: each writes OUT/NAME.log; its state and seconds go to OUT/parts.tsv -------------------

# part NAME SECONDS COMMAND...
part() {
    local name=$1 limit=$2 start=$SECONDS state=passed code=0
    shift 2
    printf '%-24s ' "$name"
    # bash -c, so that a function of this script can be a command too
    # shellcheck disable=SC2016
    timeout --kill-after=10 "$limit" bash -c '"$@"' part "$@" > "$OUT/$name.log" 2>&1 || code=$?
    case $code in
        0) ;;
        77) state=skipped ;;
        124 | 137) state="took more than $limit s" ;;
        *) state="failed with code $code" ;;
    esac
    printf '%s\t%s\t%s\n' "$name" "$state" $((SECONDS - start)) >> "$OUT/parts.tsv"
    printf '%s (%d s)\n' "$state" $((SECONDS - start))
    [ "$code" -eq 0 ] || tail -n 3 "$OUT/$name.log" | sed 's/^/    /'
}

# skip NAME WHY
skip() {
    printf '%-24s skipped: %s\n' "$1" "$2"
    printf '%s\tskipped: %s\t0\n' "$1" "$2" >> "$OUT/parts.tsv"
}

describe_machine() {
    {
        uname -srm
        lscpu 2> /dev/null | grep -E 'Model name|^CPU\(s\)' || true
        free -g 2> /dev/null || true
        nvidia-smi 2> /dev/null || echo "no nvidia-smi"
        nvidia-smi -q 2> /dev/null || true
    } > "$OUT/machine.txt"
}

build() {
    cmake -S "$ROOT" -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSHOAL_CUDA=ON \
        "-DCMAKE_CUDA_ARCHITECTURES=native" && cmake --build "$BUILD" --parallel "$(nproc)"
}

# program NAME: where it is, in a build tree or a bundle.
program() {
    if [ -x "$BUILD/bin/$1" ]; then
        echo "$BUILD/bin/$1"
    else
        find "$BUILD" -name "$1" -type f -perm -u+x 2> /dev/null | head -n 1
    fi
}

# Each test program on the GPU, one part each: also where there is no ctest.
device_tests() {
    local name path
    for name in test_kernels_network test_kernels_attention test_kernels_update test_kernels_evolve \
        test_kernels_parity test_kernels_lane test_kernels_swap test_device; do
        path=$(program "$name")
        if [ -n "$path" ]; then
            part "$name" 60 env SHOAL_TEST_DEVICE=cuda "$path"
        else
            skip "$name" "not built"
        fi
    done
}

# exchange RANKS: weights between processes on GPUs, by NCCL and by MPI.
exchange() {
    local launch=(mpirun)
    [ ! -x "$ROOT/run" ] || launch=("$ROOT/run" mpirun)
    env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "${launch[@]}" --oversubscribe \
        --bind-to none -n "$1" "$(program test_gpu)"
}

exchange_tests() {
    if [ -z "$(program test_gpu)" ]; then
        skip exchange "not built"
    elif [ ! -x "$ROOT/run" ] && ! command -v mpirun > /dev/null; then
        skip exchange "no mpirun"
    else
        part exchange-2 45 exchange 2
        part exchange-3 45 exchange 3
    fi
}

# sanitizer TOOL: on one small training step, forward, backward, AdamW. bf16 reaches most kernels.
sanitizer() {
    compute-sanitizer --tool "$1" --error-exitcode 1 "$STEP" 2 128 2 100 300 2 bf16 1 1 cuda
}

# step_of NAME LAYERS WIDTH HEADS CONTEXT VOCAB BATCH PRECISION STEPS [graph]: one training step, in
# figures/NAME.json.
step_of() {
    "$STEP" "${@:2:7}" 1 "$9" cuda "${@:10}" > "$OUT/figures/$1.json"
}

# pytorch_of NAME LAYERS WIDTH HEADS BATCH MODE
pytorch_of() {
    "$PYTHON" "$ROOT/bench/pytorch_step.py" "$2" "$3" "$4" 1024 50257 "$5" bf16 1 10 "$6" cuda \
        > "$OUT/figures/$1.json"
}

# used: MB of the first GPU in use.
used() {
    nvidia-smi --id=0 --query-gpu=memory.used --format=csv,noheader,nounits
}

# driver_memory: what the GPU holds while a small step runs, beside the tensors: `shoal plan` assumes
# the driver's share of it.
driver_memory() {
    local before most=0 now pid tensors
    before=$(used) || return 1
    "$STEP" 2 128 2 100 300 2 bf16 1 100 cuda > "$OUT/driver_step.json" &
    pid=$!
    while kill -0 "$pid" 2> /dev/null; do
        now=$(used) || return 1
        [ "$now" -le "$most" ] || most=$now
        sleep 0.05
    done
    wait "$pid" || return 1
    tensors=$(field "$OUT/driver_step.json" device_bytes)
    printf '{"driver_and_workspace_bytes":%.0f}\n' \
        "$(awk -v a="$before" -v b="$most" -v t="$tensors" 'BEGIN {print (b - a) * 1048576 - t}')" |
        tee "$OUT/figures/driver.json"
}

# population_of NAME PARK: six experts of 82 M parameters on one GPU, parked or not: tokens a second of all
# of them from round to round, swaps and rounds included. The run is cut off, so that it saves nothing.
population_of() {
    local run="$OUT/$1"
    mkdir -p "$run" && seq 1 600000 > "$run/text.txt" || return 1
    "$(program shoal)" tokenize --tokenizer bytes --out "$run/data" "$run/text.txt" || return 1
    timeout --signal=KILL 40 "$(program shoal)" train "$ROOT/configs/gpt2-124m-2x6.yaml" \
        --set population.experts=6 --set population.layers_per_expert=6 --set train.micro_batch=8 \
        --set "run.out=$run/run" --set "data.train=$run/data/train_*.bin" \
        --set "data.val=$run/data/val_*.bin" --set data.tokenizer=none --set train.batch=8 \
        --set snapshot.every=0 --set evolution.judge=10000 --set evolution.fitness_batches=1 \
        --set "population.park=$2" --set device=cuda
    grep '"event":"round"' "$run/run/metrics.jsonl" | sed -E 's/.*"time":([^,]*),"step":([^,]*),.*/\1 \2/' |
        awk '$2 > 0 {if (!n++) {t = $1; s = $2} now = $1; at = $2}
            END {if (at <= s) exit 1; printf "{\"tokens_per_s\":%.0f}\n", (at - s) * 6 * 8 * 1024 / (now - t)}' |
        tee "$OUT/figures/$1.json"
    local code=${PIPESTATUS[2]}
    rm -rf -- "$run/run" "$run/data" "$run/text.txt"
    return "$code"
}

llmc() {
    # shellcheck disable=SC2086  # a command with its arguments
    $LLMC | tee /dev/stderr | grep -oE '[0-9.]+ tok/s' | sort -n |
        awk '{v[NR] = $1} END {if (!NR) exit 1; printf "{\"tokens_per_s\":%s}\n", v[int((NR + 1) / 2)]}' \
            > "$OUT/figures/llmc.json"
}

# The models of a run: name, layers, width, heads, sequences. The second and third are experts.
models() {
    cat << 'EOF'
gpt2-124m 12 768 12 32
gpt2-774m-4x9 9 1280 20 32
gpt2-1558m-6x8 8 1600 25 32
EOF
}

# with_and_without NAME LAYERS...: as step_of, call by call and then as graphs (train.graph).
with_and_without() {
    part "shoal-$1" 60 step_of "shoal-$1" "${@:2}"
    part "shoal-$1-graph" 60 step_of "shoal-$1-graph" "${@:2}" graph
}

training_steps() {
    local name layers width heads batch
    with_and_without quickstart 4 128 4 128 256 8 bf16 200
    with_and_without small 6 384 6 256 65 16 bf16 200
    while read -r name layers width heads batch; do
        with_and_without "$name" "$layers" "$width" "$heads" 1024 50257 "$batch" bf16 10
        [ -z "$PYTHON" ] ||
            part "torch-$name" 75 pytorch_of "torch-$name" "$layers" "$width" "$heads" "$batch" compile
    done < <(models)
    part population-all-there 50 population_of population-all-there off
    part population-parked 50 population_of population-parked on
    part shoal-gpt2-124m-f32 45 step_of shoal-gpt2-124m-f32 12 768 12 1024 50257 8 f32 10
    [ -n "$PYTHON" ] || skip torch "no --python given"
    if [ -n "$LLMC" ]; then part llmc 60 llmc; else skip llmc "no --llmc given"; fi
}

# ---- the table ------------------------------------------------------------------------------------

# field FILE KEY: a number of a line of JSON.
field() {
    grep -oE "\"$2\":[0-9.eE+-]+" "$1" 2> /dev/null | head -n 1 | cut -d : -f 2
}

table() {
    local file tokens bytes
    printf '\n== Training step, medians; -graph: the same as CUDA graphs\n%-28s %12s %12s\n' model "tokens/s" "device GB"
    for file in "$OUT"/figures/*.json; do
        tokens=$(field "$file" tokens_per_s)
        bytes=$(field "$file" device_bytes)
        [ -n "$tokens" ] || continue
        awk -v n="$(basename "$file" .json)" -v t="$tokens" -v b="${bytes:-0}" \
            'BEGIN {printf "%-28s %12.0f %12.2f\n", n, t, b * 1e-9}'
    done
    printf '\n== GPU memory beside tensors (shoal plan assumes 545 MB and 34 MB of workspace)\n'
    cat "$OUT/figures/driver.json" 2> /dev/null || echo '-'
    printf '\n== Kernels (all in kernels.log)\n'
    grep -E 'peak|copy|attention|adamw|swarm|matmul' "$OUT/kernels.log" 2> /dev/null || true
    printf '\n== Parts\n'
    awk -F '\t' '{printf "%-28s %s\n", $1, $2}' "$OUT/parts.tsv"
}

parse() {
    OUT="" BUILD="" PYTHON="" LLMC=""
    while [ $# -gt 0 ]; do
        case "$1" in
            --help | -h)
                usage
                exit 0
                ;;
            --build | --python | --llmc)
                [ $# -ge 2 ] || die "$1 needs a value"
                case "$1" in
                    --build) BUILD=$2 ;;
                    --python) PYTHON=$2 ;;
                    --llmc) LLMC=$2 ;;
                esac
                shift
                ;;
            -*) die "unknown option '$1'; see --help" ;;
            *)
                [ -z "$OUT" ] || die "only one OUT_DIR, please"
                OUT=$1
                ;;
        esac
        shift
    done
    [ -n "$OUT" ] || die "give a directory for the results; see --help"
}

# Sets BUILD and STEP; builds if nothing is built.
find_programs() {
    if [ -z "$BUILD" ] && [ -x "$ROOT/bin/bench_step" ]; then
        BUILD=$ROOT
        export LD_LIBRARY_PATH="$ROOT/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    elif [ -z "$BUILD" ]; then
        export BUILD=$ROOT/build-gpu
        part build 240 build
    fi
    STEP=$(program bench_step)
    [ -n "$STEP" ] || die "no bench_step in $BUILD: the build failed, see $OUT/build.log" 1
}

main() {
    parse "$@"
    mkdir -p "$OUT/figures" || exit 2
    OUT=$(cd "$OUT" && pwd)
    : > "$OUT/parts.tsv"
    describe_machine
    if ! compgen -G '/dev/nvidia[0-9]*' > /dev/null && ! nvidia-smi > /dev/null 2>&1; then
        die "there is no GPU here: no /dev/nvidia0, and nvidia-smi shows none" 3
    fi
    export -f program exchange sanitizer population_of step_of pytorch_of llmc build used driver_memory field
    export OUT BUILD PYTHON LLMC ROOT
    find_programs
    export BUILD STEP
    "$STEP" 1 32 2 16 64 1 f32 1 1 cuda > "$OUT/open.log" 2>&1 ||
        die "the GPU cannot be used: $(tail -n 1 "$OUT/open.log")" 3
    device_tests
    exchange_tests
    if command -v compute-sanitizer > /dev/null; then
        part memcheck 60 sanitizer memcheck
        part racecheck 60 sanitizer racecheck
    else
        skip sanitizer "no compute-sanitizer on PATH"
    fi
    part driver_memory 30 driver_memory
    part kernels 90 "$(program bench_kernels)" 0 0 0 0 cuda
    training_steps
    table | tee "$OUT/table.txt"
    # with a GPU, a test that says it has none has failed too
    ! grep -qE $'\t(failed|took|skipped\t)' "$OUT/parts.tsv"
}

main "$@"
