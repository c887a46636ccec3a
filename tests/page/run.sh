#!/bin/bash
# The status page in headless Chromium. A target of its own, outside the gate: Chromium is big.
#
#   tests/page/run.sh [PYTEST-OPTION...]
#
# Installs chromium where it is missing. $EVERLEAF is the program under test, else build/gcc-asan/everleaf
# or build/everleaf. Screenshots are left in build/page/.
set -eu
cd "$(dirname "$(readlink -f "$0")")/../.."

if ! command -v chromium >/dev/null; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        chromium fonts-dejavu-core
fi
if [ -z "${EVERLEAF-}" ]; then
    EVERLEAF=$PWD/build/gcc-asan/everleaf
    [ -x "$EVERLEAF" ] || EVERLEAF=$PWD/build/everleaf
fi
export EVERLEAF
exec /usr/bin/python3 -m pytest -p no:cacheprovider -q -rsx tests/page "$@"
