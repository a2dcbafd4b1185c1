# The text that quickstart learns from when it is given none. To be sourced after common.sh.
# shellcheck shell=bash

# Packages that building shoal needs, so their headers are on every machine that has built it.
HEADER_PACKAGES=(linux-libc-dev libc6-dev libopenmpi-dev libhwloc-dev libhdf5-dev libdnnl-dev
    libyaml-dev libcmocka-dev)
MAX_CORPUS_BYTES=16000000

# Names of C headers, one a line, in an order that is the same everywhere.
header_names() {
    if have dpkg-query; then
        dpkg-query -L "${HEADER_PACKAGES[@]}" 2> /dev/null || true
    else
        find -L /usr/include -type f 2> /dev/null || true
    fi | grep '^/usr/include/.*\.h$' | LC_ALL=C sort -u
}

# "BYTES regular file NAME" for each name on standard input that is there.
describe_files() { LC_ALL=C xargs -d '\n' stat -L -c '%s %F %n' 2> /dev/null || true; }

# The headers that are there and not empty, up to a bounded amount of text.
header_files() {
    header_names | describe_files | awk -v most="$MAX_CORPUS_BYTES" '
        $2 == "regular" && $3 == "file" && (sum += $1) <= most {
            sub(/^[0-9]+ regular file /, ""); print }'
}
