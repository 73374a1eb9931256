# Shared by the scripts; to be sourced with $root, the repository, set.
# shellcheck shell=sh

PATH=$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin
export PATH

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# need COMMAND:PACKAGE...  Sees to it that the commands are there: as root installs the Debian packages
# of those that are not, else says which they are.
need() {
    packages=
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || packages="$packages ${pair#*:}"
    done
    [ -n "$packages" ] || return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "please install:$packages"
    echo "== installing:$packages"
    apt-get update -qq </dev/null
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages </dev/null >/dev/null
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || die "${pair%%:*} is not in the package ${pair#*:}"
    done
}

# Rust 1.88 or later, and the C linker that it calls.
need_rust() {
    command -v cargo >/dev/null || die "cargo is not there (https://rustup.rs has it)"
    need cc:gcc cc:libc6-dev
}

# Whether we may mount here: root, or root of a user namespace.
need_fuse() {
    [ -e /dev/fuse ] || modprobe fuse 2>/dev/null || mknod -m 0666 /dev/fuse c 10 229 2>/dev/null ||
        die "/dev/fuse is not there (as root: modprobe fuse)"
}
