#!/bin/bash
# The units on a real systemd: a Debian root with nginx, Pebble and polkit is booted in a container, the
# package installed in it, and what the manual promises is tried.
#
#   tests/systemd/run.sh [bookworm|trixie] [PYTEST-OPTION...]     default: bookworm
#
# Needs root; downloads Debian packages the first time (kept in build/roots). Outside the gate for that.
# $EVERLEAF_DEB: a folder with a package that is there already; without it one is built.
set -u -o pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/package/roots.sh
. "$here/../package/roots.sh"
need_tools || exit 2
suite=bookworm
case ${1-} in
bookworm | trixie)
    suite=$1
    shift
    ;;
esac
[ -x "$source_root/build/pebble-2.10/usr/bin/pebble" ] || "$source_root/tests/run.sh" pebble >/dev/null
[ -x "$source_root/build/pebble-2.10/usr/bin/pebble" ] || {
    echo "Pebble 2.10 could not be fetched" >&2
    exit 2
}
python3=/usr/bin/python3
$python3 -c 'import pytest, cryptography' || exit 2

debs=${EVERLEAF_DEB-}
if [ -z "$debs" ]; then
    debs=$source_root/build/deb-$suite
    log=$source_root/build/systemd-$suite.log
    build_deb "$suite" "$debs" >"$log" 2>&1 || {
        tail -n 20 "$log"
        echo "the package was not built, log: $log"
        exit 1
    }
fi
debs=$(readlink -f "$debs")

# The machine before the package: its dependencies are there, for the booted one has no network.
run_options=(--bind-ro="$debs:/debs")
depends=$(dpkg-deb -f "$(echo "$debs"/everleaf_[0-9]*_*.deb)" Depends | cksum)
machine=$(layer "$suite" machine "apt-get -qq update &&
    apt-get -qq -y install --no-install-recommends init dbus polkitd procps nginx-light openssl curl iproute2 &&
    apt-get -qq -y install --no-install-recommends /debs/everleaf_[0-9]*_*.deb && apt-get -qq -y purge everleaf &&
    rm -f /etc/nginx/sites-enabled/default && systemctl -q disable nginx && : >/etc/machine-id # ${depends%% *}") || exit 1
run_options=()

work=$(mktemp -d)
trap 'unmount_all; rm -rf "$work"' EXIT
mount_over "$work/root" "$work/upper" "$machine" "$(base_root "$suite")" || exit 1
mkdir -p "$work/root/debs"
cp "$debs"/everleaf_[0-9]*_*.deb "$work/root/debs/"
EVERLEAF_ROOT=$work/root $python3 -m pytest -p no:cacheprovider -q -rsxX "$@" "$here"
