#!/usr/bin/env bash
# valgrind.sh ROOT BUILD: a small run under memcheck, which unlike the sanitizers sees into the libraries and
# minds memory that was never written. Valgrind does not know every instruction of this processor, so BUILD
# gets a shoal for any.
set -euo pipefail
root=$1 build=$2
command -v valgrind > /dev/null || {
    echo "valgrind is not installed"
    exit 77
}
mkdir -p "$build"
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_C_FLAGS_DEBUG=-O1 -g" \
    -DSHOAL_NATIVE=OFF -DSHOAL_CUDA=OFF > "$build/configure.log"
cmake --build "$build" --target shoal > "$build/build.log"

dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
cd "$dir"
python3 -c 'print("the quick brown fox jumps over the lazy dog " * 1000)' > text
cat > run.yaml << 'EOF'
run: {steps: 2, log: 1, out: run}
model: {layers: 4, width: 16, heads: 2, context: 16}
population: {experts: 2}
data: {train: data/train_*.bin, val: data/val_*.bin}
train: {batch: 2, warmup: 1, precision: f32}
evolution: {every: 1, judge: 2, fitness_batches: 1}
snapshot: {every: 2}
device: cpu
threads: 1
EOF
known=/usr/share/openmpi/openmpi-valgrind.supp
memcheck() {
    OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000 OMPI_ALLOW_RUN_AS_ROOT=1 valgrind --error-exitcode=9 --num-callers=30 \
        ${known:+--suppressions="$known"} "$build/shoal" "$@"
}
[ -e "$known" ] || known=
memcheck tokenize --tokenizer bytes --out data text
memcheck train run.yaml
memcheck train run.yaml --set run.steps=4 --resume
memcheck verify run
memcheck export run --to hf --out model
memcheck import model --out imported.h5
memcheck generate run --prompt "the " --tokens 8 --seed 1
