#!/bin/bash
# Builds the Debian package from this tree.
#
#   packaging/build-deb.sh [FOLDER]        everleaf_*.deb into FOLDER (default build/deb)
#   packaging/build-deb.sh --tree FOLDER   only the source tree with debian/ in it, to be built elsewhere
#
# Needs the build dependencies of packaging/debian/control (apt-get build-dep FOLDER).
set -eu -o pipefail
root=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")

make_tree() { # make_tree FOLDER: what belongs to the source, without what was built
    mkdir -p "$1"
    if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
        # A file may be deleted and not yet committed.
        (cd "$root" && git ls-files -z -co --exclude-standard | while IFS= read -r -d '' file; do
            [ ! -e "$file" ] || printf '%s\0' "$file"
        done | tar -c --null -T - -f -) | tar -x -C "$1" -f -
    else
        tar -c -C "$root" --exclude=./build --exclude='./build-*' --exclude=__pycache__ -f - . |
            tar -x -C "$1" -f -
    fi
    cp -R "$1/packaging/debian" "$1/debian"
}

if [ "${1-}" = --tree ]; then
    make_tree "${2:?a folder}"
    exit
fi
to=${1:-$root/build/deb}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make_tree "$work/everleaf"
(cd "$work/everleaf" && dpkg-buildpackage -b -us -uc)
mkdir -p "$to"
cp "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "$to/"
ls "$to"
