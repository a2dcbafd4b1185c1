# What quickstart and check share: packages, building, Open MPI's environment. To be sourced with
# the root of the repository as working directory.
# shellcheck shell=bash

# shellcheck disable=SC2034  # used by the scripts that source this one
BUILD_PACKAGES=(build-essential cmake ninja-build pkg-config libopenmpi-dev openmpi-bin libhdf5-dev
    libdnnl-dev libyaml-dev libjson-c-dev libcmocka-dev python3 python3-h5py python3-numpy)
# shellcheck disable=SC2034
SLURM_PACKAGES=(slurm-wlm munge)
# shellcheck disable=SC2034
CHECK_PACKAGES=(clang libclang-rt-dev clang-format hdf5-tools shellcheck python3-venv "${SLURM_PACKAGES[@]}")

say() { printf '%s\n' "$*"; }

heading() { printf '\n== %s\n' "$*"; }

die() {
    printf '%s: error: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() { command -v "$1" > /dev/null; }

# missing_packages PACKAGE...: those that dpkg does not have, one a line.
missing_packages() {
    local installed
    # shellcheck disable=SC2016  # dpkg's own variables
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2> /dev/null || true)
    local package
    for package in "$@"; do
        grep -qx "installed $package" <<< "$installed" || printf '%s\n' "$package"
    done
}

# as_root COMMAND...: run it as root, if that needs no password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

can_be_root() { [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2> /dev/null; }; }

# install_packages PACKAGE...: install what is missing, or say how. Elsewhere than on Debian and its
# kin nothing is done: CMake then names what it cannot find.
install_packages() {
    have dpkg-query || return 0
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if ! have apt-get || ! can_be_root; then
        die "packages are missing; install them as root with
  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    fi
    heading "Installing ${missing[*]} (log in build/packages.log)"
    mkdir -p build
    local apt=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q)
    logged build/packages.log "${apt[@]}" update
    logged build/packages.log "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

# logged LOG COMMAND...: run it with its output in LOG; show the log when it fails.
logged() {
    local log=$1
    shift
    "$@" > "$log" 2>&1 && return 0
    tail -n 60 "$log" >&2
    die "'$*' failed; the whole output is in $log"
}

# build_preset PRESET DIR [TARGET]: configure and build all, or what TARGET needs, quietly; the log is
# DIR/build.log.
build_preset() {
    local preset=$1 dir=$2 target=${3-all} start=$SECONDS
    heading "Building ($preset, $(nproc) cores; log in $dir/build.log)"
    have cmake || die "cmake is missing: install cmake 3.25 or newer and ninja"
    mkdir -p "$dir"
    logged "$dir/configure.log" cmake --preset "$preset"
    logged "$dir/build.log" cmake --build "$dir" --target "$target" --parallel "$(nproc)"
    say "built in $((SECONDS - start)) s"
}

# What mpirun and OpenMP need to run more ranks than cores, as root, on one machine. A variable the user
# has set stays as it is.
mpi_environment() {
    have mpirun || die "mpirun is missing: install Open MPI"
    if [ "$(id -u)" -eq 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    # Without a remote shell mpirun stops even if it is not going to need one.
    have ssh || have rsh || export OMPI_MCA_plm_rsh_agent=
    # The coordinator sleeps, so ranks may outnumber cores; workers spread their own threads.
    export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe-1}"
    export OMPI_MCA_hwloc_base_binding_policy="${OMPI_MCA_hwloc_base_binding_policy-none}"
    export OMPI_MCA_mpi_yield_when_idle="${OMPI_MCA_mpi_yield_when_idle-1}"
    # As src/base/openmp_wait.c does, for programs of the tests.
    export GOMP_SPINCOUNT="${GOMP_SPINCOUNT-10000}"
    # Shared memory only; without the system call that containers often forbid.
    export OMPI_MCA_btl="${OMPI_MCA_btl-self,vader}"
    export OMPI_MCA_btl_vader_single_copy_mechanism="${OMPI_MCA_btl_vader_single_copy_mechanism-none}"
}
