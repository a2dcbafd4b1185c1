#!/usr/bin/env bash
# A folder that runs where nothing can be installed: shoal's programs, its tests and benches, and every
# library they need but libc and the GPU's driver.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/common.sh
source scripts/common.sh

usage() {
    cat << 'EOF'
usage: scripts/bundle.sh BUILD_DIR BUNDLE_DIR [--tar]

Copies the programs of BUILD_DIR (shoal, the benches, the tests that can run on a GPU), Open MPI with
its plugins and the libraries of all of them to BUNDLE_DIR; --tar also packs BUNDLE_DIR.tar.gz. There:

  ./run shoal train CONFIG          any program of bin/, with the bundle's libraries
  ./run mpirun -n 3 bin/shoal ...   the bundle's mpirun
  bench/gpu.sh OUT_DIR              what a GPU shows

The machine needs the same kind of processor (build with -DSHOAL_NATIVE=OFF for any x86-64) and a libc
no older than this one's.
EOF
}

# Libraries that belong to the machine: the C library and its loader, and the driver.
SYSTEM='/(ld-linux[^/]*|libc|libm|libdl|librt|libpthread|libresolv|libutil|libnss_[a-z]*|libcuda|libnvidia[^/]*)\.so'

# libraries FILE...: what they load, by path.
libraries() {
    local file
    for file in "$@"; do
        ldd "$file" 2> /dev/null | sed -nE 's/.* => (\/[^ ]+) .*/\1/p'
    done | sort -u | grep -vE "$SYSTEM" || true
}

# programs BUILD: what is worth taking along.
programs() {
    echo "$1/shoal"
    find "$1/bench" "$1/tests" -type f -perm -u+x \
        \( -name 'bench_*' -o -name 'test_kernels_*' -o -name test_device -o -name test_gpu \) \
        -not -name '*_emulated' -not -name '*_x86-64*'
}

copy_programs() {
    local program
    while read -r program; do
        cp "$program" "$2/bin/"
    done < <(programs "$1")
    cp bench/*.sh bench/*.py "$2/bench/"
    cp -r configs "$2/"
    mkdir -p "$2/share/shoal"
    cp -r analysis "$2/share/shoal/"
}

# Open MPI's launcher, daemon, plugins and texts, found by where its mpirun is.
copy_mpi() {
    local prefix plugins
    plugins=$(ompi_info --path pkglibdir --parsable | cut -d : -f 3)
    prefix=$(ompi_info --path pkgdatadir --parsable | cut -d : -f 3)
    cp -L "$(command -v orterun)" "$1/bin/mpirun"
    cp -L "$(command -v orted)" "$1/bin/orted"
    mkdir -p "$1/lib/openmpi" "$1/share"
    cp -L "$plugins"/mca_*.so "$1/lib/openmpi/"
    cp -rL "$prefix" "$1/share/openmpi"
}

copy_libraries() {
    local library more
    while read -r library; do
        more=$(basename "$library")
        [ -e "$1/lib/$more" ] || cp -L "$library" "$1/lib/$more"
    done < <(libraries "$1"/bin/* "$1"/lib/openmpi/*.so)
}

write_wrapper() {
    cat > "$1/run" << 'EOF'
#!/bin/sh
# run PROGRAM ARGUMENTS...: a program of bin/ with the libraries beside it.
here=$(cd "$(dirname "$0")" && pwd)
export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export PATH="$here/bin:$PATH" OPAL_PREFIX="$here"
export OMPI_MCA_mca_base_component_path="$here/lib/openmpi"
export OMPI_MCA_plm_rsh_agent="${OMPI_MCA_plm_rsh_agent-}"
export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe-1}"
export OMPI_MCA_hwloc_base_binding_policy="${OMPI_MCA_hwloc_base_binding_policy-none}"
export OMPI_MCA_pml="${OMPI_MCA_pml-ob1}" OMPI_MCA_btl="${OMPI_MCA_btl-self,vader}"
export OMPI_MCA_btl_vader_single_copy_mechanism="${OMPI_MCA_btl_vader_single_copy_mechanism-none}"
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
exec "$@"
EOF
    chmod +x "$1/run"
}

main() {
    [ "${1-}" != --help ] || { usage && return 0; }
    [ $# -ge 2 ] || die "give a build directory and one for the bundle; see --help"
    local build=$1 out=$2
    [ -x "$build/shoal" ] || die "$build/shoal is not there: build first"
    [ ! -e "$out" ] || die "$out is there already"
    have ompi_info || die "ompi_info is missing: install Open MPI"
    mkdir -p "$out/bin" "$out/lib" "$out/bench"
    copy_programs "$build" "$out"
    copy_mpi "$out"
    copy_libraries "$out"
    write_wrapper "$out"
    say "$out: $(du -sh "$out" | cut -f 1), $(find "$out/lib" -name '*.so*' | wc -l) libraries"
    [ "${3-}" != --tar ] || tar -C "$(dirname "$out")" -czf "$out.tar.gz" "$(basename "$out")"
}

main "$@"
