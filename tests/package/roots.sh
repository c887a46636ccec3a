#!/bin/bash
# Clean Debian roots for the tests of the package, to be sourced. Needs root, debootstrap and
# systemd-nspawn. Everything is kept in build/roots (or $EVERLEAF_ROOTS): SUITE as debootstrap made it,
# SUITE-NAME.upper what was added to it once, debs-SUITE the packages that were downloaded. Each use is
# an overlay of its own, so that the roots stay clean.

source_root=$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..")
roots=${EVERLEAF_ROOTS:-$source_root/build/roots}

need_tools() {
    local tool
    [ "$(id -u)" = 0 ] || { echo "needs root (debootstrap, systemd-nspawn)" >&2; return 1; }
    for tool in debootstrap systemd-nspawn; do
        command -v $tool >/dev/null || {
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
                debootstrap systemd-container >/dev/null || return 1
        }
    done
}

mirror() {
    sed -nE 's/^URIs:[[:space:]]*([^[:space:]]+).*/\1/p; s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+).*/\2/p' \
        /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1
}

base_root() { # base_root SUITE: once; prints its path
    local base=$roots/$1
    if [ ! -d "$base" ]; then
        mkdir -p "$roots"
        rm -rf "$base.new"
        debootstrap --variant=minbase "$1" "$base.new" "$(mirror)" >"$roots/$1.log" 2>&1 || {
            tail -n 5 "$roots/$1.log" >&2
            return 1
        }
        mv "$base.new" "$base"
    fi
    echo "$base"
}

# run_in ROOT COMMAND...: in a container that shares only the network; downloaded packages are kept.
# No cgroup of its own is needed for a command.
run_in() {
    local at=$1
    shift
    mkdir -p "$roots/debs-$suite/partial"
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn -q --register=no --keep-unit --console=pipe \
        --resolv-conf=copy-host --bind="$roots/debs-$suite:/var/cache/apt/archives" \
        --setenv=DEBIAN_FRONTEND=noninteractive --setenv=LC_ALL=C.UTF-8 ${run_options[@]+"${run_options[@]}"} \
        -D "$at" "$@" </dev/null
}
run_options=()

mounted=()
mount_over() { # mount_over MOUNTPOINT UPPER LOWER...: the first LOWER is on top
    local at=$1 upper=$2
    shift 2
    mkdir -p "$at" "$upper" "$upper.work"
    mount -t overlay overlay -o "lowerdir=$(IFS=: && echo "$*"),upperdir=$upper,workdir=$upper.work" "$at" &&
        mounted+=("$at")
}

unmount() { # unmount MOUNTPOINT
    if mountpoint -q "$1"; then
        umount "$1" 2>/dev/null || umount -l "$1"
    fi
}

unmount_all() {
    local at
    for at in ${mounted[@]+"${mounted[@]}"}; do
        unmount "$at"
    done
    mounted=()
}

# layer SUITE NAME COMMAND...: what COMMAND (a shell line run in the root) adds, made once; prints its path.
layer() {
    local suite=$1 name=$2 line=$3 base upper at
    base=$(base_root "$suite") || return 1
    upper=$roots/$suite-$name.upper
    if [ "$(cat "$upper.made" 2>/dev/null)" != "$line" ]; then
        at=$roots/$suite-$name.mount
        rm -rf "$upper" "$upper.work"
        mount_over "$at" "$upper" "$base" || return 1
        if ! run_in "$at" sh -c "$line" >"$upper.log" 2>&1; then
            unmount "$at"
            tail -n 20 "$upper.log" >&2
            return 1
        fi
        unmount "$at"
        rmdir "$at"
        echo "$line" >"$upper.made"
    fi
    echo "$upper"
}

# builder SUITE: the build dependencies and lintian.
builder() {
    local depends
    depends=$(sed -n '/^Build-Depends:/,/^Standards/p' "$source_root/packaging/debian/control" | cksum)
    run_options=(--bind-ro="$source_root/packaging:/packaging")
    layer "$1" builder "apt-get -qq update && apt-get -qq -y install --no-install-recommends build-essential \
        lintian bash-completion zsh fish mandoc systemd &&
        apt-get -qq -y build-dep --no-install-recommends /packaging # ${depends%% *}"
    local rc=$?
    run_options=()
    return "$rc"
}

# build_deb SUITE FOLDER: everleaf_*.deb, built from this tree in a root that has only the build
# dependencies. $EVERLEAF_BUILD_OPTIONS becomes DEB_BUILD_OPTIONS (default nocheck: the gate runs the
# unit tests).
build_deb() {
    local suite=$1 to=$2 base upper at work
    base=$(base_root "$suite") || return 1
    upper=$(builder "$suite") || return 1
    work=$(mktemp -d)
    at=$work/root
    mount_over "$at" "$work/upper" "$upper" "$base" || return 1
    "$source_root/packaging/build-deb.sh" --tree "$at/build/everleaf" || return 1
    run_options=(--setenv="DEB_BUILD_OPTIONS=${EVERLEAF_BUILD_OPTIONS-nocheck}" --chdir=/build/everleaf)
    run_in "$at" dpkg-buildpackage -b -us -uc
    local rc=$?
    run_options=()
    if [ $rc -eq 0 ]; then
        rm -rf "$to"
        mkdir -p "$to"
        cp "$at"/build/*.deb "$at"/build/*.changes "$at"/build/*.buildinfo "$to/"
    fi
    unmount "$at"
    rm -rf "$work"
    return "$rc"
}
