#!/bin/bash
# The Debian package, in clean roots: built, checked by lintian, installed, upgraded, removed, purged.
#
#   tests/package/run.sh [bookworm|trixie]...    default: bookworm
#
# Needs root; downloads Debian packages (the first run some 250 MB a suite; kept in build/roots). Outside
# the gate for that. $EVERLEAF_BUILD_OPTIONS= (empty) runs the unit tests in the build, too.
# shellcheck disable=SC2317  # the steps are called by name
set -u -o pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/package/roots.sh
. "$here/roots.sh"
need_tools || exit 2
trap unmount_all EXIT
failed=0

step() { # step NAME COMMAND...
    local name=$1 log=$logs/$1.log began=$SECONDS
    shift
    if "$@" >"$log" 2>&1; then
        echo "$suite: $name: PASS ($((SECONDS - began)) s)"
    else
        sed 's/^/    /' "$log" | tail -n 40
        echo "$suite: $name: FAIL ($((SECONDS - began)) s), log: $log"
        failed=1
        return 1
    fi
}

# next_version DEB FOLDER: the same package with a higher version, as the next release would be.
next_version() {
    local tree=$2/tree
    dpkg-deb -R "$1" "$tree" &&
        sed -i 's/^Version: .*/&+1/' "$tree/DEBIAN/control" &&
        dpkg-deb --root-owner-group -b "$tree" "$2/everleaf_next.deb" &&
        rm -rf "$tree"
}

inside() { # inside STEP: a step of inside.sh in the root at $at
    run_options=(--bind-ro="$debs:/debs" --bind-ro="$here:/test")
    run_in "$at" /test/inside.sh "$1"
    local rc=$?
    run_options=()
    return "$rc"
}

test_suite() {
    local base work at name
    debs=$source_root/build/deb-$suite
    logs=$source_root/build/package-$suite
    mkdir -p "$logs"
    step root base_root "$suite" && step builder builder "$suite" && step build build_deb "$suite" "$debs" &&
        step next-version next_version "$(echo "$debs"/everleaf_*_*.deb)" "$debs" || return
    base=$(base_root "$suite")
    work=$(mktemp -d)
    at=$work/builder
    mount_over "$at" "$work/builder-upper" "$(builder "$suite")" "$base" || return
    for name in lint files; do
        step $name inside $name
    done
    at=$work/clean
    mount_over "$at" "$work/clean-upper" "$base" || return
    for name in install upgrade remove purge; do
        step $name inside $name || break # each needs the one before
    done
    unmount_all
    rm -rf "$work"
}

for suite in "${@:-bookworm}"; do
    test_suite || failed=1
done
[ $failed = 0 ] && echo "PASS: package ${*:-bookworm}"
exit $failed
