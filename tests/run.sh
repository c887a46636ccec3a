#!/bin/bash
# The whole gate: installs what is missing, builds, tests, lints. Exit 0 only if everything passed.
#
#   tests/run.sh               everything
#   tests/run.sh STEP...       only these steps, e.g. "tests/run.sh lint layers" (see `steps` below)
#   tests/run.sh --list        names of the steps
#
# Runs on Debian 12 as root or with sudo, from any directory. Everything it makes is in build/;
# build/gate/STEP.log has the output of each step. A test that cannot run here says so in the summary.
set -u -o pipefail

root=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
cd "$root" || exit 2
build=$root/build
logs=$build/gate
jobs=$(nproc)
mkdir -p "$logs"
export LC_ALL=C.UTF-8 CTEST_OUTPUT_ON_FAILURE=1

# AddressSanitizer and friends end a program with this status, which nothing of ours uses.
export ASAN_OPTIONS=exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=exitcode=99:print_stacktrace=1
export TSAN_OPTIONS=exitcode=99:halt_on_error=0

packages=(
    gcc clang libclang-rt-14-dev cmake ninja-build pkg-config
    ca-certificates libcmocka-dev libcurl4-openssl-dev libfyaml-dev libidn2-dev libjansson-dev
    libmicrohttpd-dev libpsl-dev libssl-dev libsystemd-dev uthash-dev
    clang-format clang-tidy cppcheck codespell pmccabe shellcheck
    dbus-daemon nginx-light pebble openssl prometheus prometheus-node-exporter strace
    apache2-bin caddy dovecot-imapd h2o haproxy hitch lighttpd lighttpd-mod-openssl mosquitto nodejs
    postfix postgresql rabbitmq-server redis-server
    dovecot-pop3d mariadb-server prosody slapd vsftpd
    python3 python3-cryptography python3-pytest python3-pytest-xdist
)

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    local missing=() package policy=/usr/sbin/policy-rc.d made_policy='' rc
    for package in "${packages[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "all ${#packages[@]} packages are installed"
        return 0
    fi
    echo "installing: ${missing[*]}"
    # The tests start servers themselves; their packages must not start any that take ports.
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod 755 $policy
        made_policy=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        "${missing[@]}" ||
        { as_root apt-get update -qq &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
                --no-install-recommends "${missing[@]}"; }
    rc=$?
    [ -z "$made_policy" ] || as_root rm -f $policy
    return $rc
}

# Debian 12 has Pebble 2.4; ARI, profiles and Retry-After need 2.10, which runs on Debian 12 as it is.
# One package of sid, unpacked, never installed. Without it its tests are skipped, and say so.
fetch_pebble() {
    local dir=$build/pebble-2.10 work uri apt
    if [ -x "$dir/usr/bin/pebble" ]; then
        echo "cached in $dir"
        return 0
    fi
    work=$(mktemp -d) || return 1
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    uri=$(sed -nE 's/^URIs:[[:space:]]*([^[:space:]]+).*/\1/p; s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+).*/\2/p' \
        /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri sid main" >"$work/src.list"
    apt=(-o "Dir::Etc::sourcelist=$work/src.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=
        -o Acquire::Retries=2)
    (cd "$work" && apt-get "${apt[@]}" update -qq && apt-get "${apt[@]}" download -qq pebble) &&
        rm -rf "$dir" "$dir.new" && dpkg -x "$work"/pebble_*.deb "$dir.new" && mv "$dir.new" "$dir"
    local rc=$?
    rm -rf "$work"
    if [ $rc -ne 0 ]; then
        skip "Pebble 2.10 could not be fetched: the tests that need it are skipped"
        return 0
    fi
    "$dir/usr/bin/pebble" -version
}

# configure DIR COMPILER [CMAKE-OPTION...]
configure() {
    local dir=$1 compiler=$2
    shift 2
    cmake -S "$root" -B "$dir" -G Ninja -DCMAKE_C_COMPILER="$compiler" -DEVERLEAF_WERROR=ON "$@"
}

release() {
    configure "$build" gcc -DCMAKE_BUILD_TYPE=RelWithDebInfo -DEVERLEAF_TESTS=OFF &&
        ninja -C "$build" -j"$jobs"
}

# sanitized COMPILER: every warning is an error; unit tests and header checks included.
sanitized() {
    local dir=$build/$1-asan
    configure "$dir" "$1" -DCMAKE_BUILD_TYPE=Debug -DEVERLEAF_SANITIZE=address,undefined &&
        ninja -C "$dir" -j"$jobs" && ctest --test-dir "$dir" -j"$jobs" --no-tests=error --timeout 120
}

# The threads are all in base/worker. TSan cannot place its shadow memory under some address space
# layouts, hence setarch.
threads() {
    local dir=$build/gcc-tsan targets=() test
    configure "$dir" gcc -DCMAKE_BUILD_TYPE=Debug -DEVERLEAF_SANITIZE=thread || return 1
    for test in base/*_test.c; do
        test=${test#base/}
        targets+=("base_${test%.c}")
    done
    ninja -C "$dir" -j"$jobs" "${targets[@]}" &&
        setarch -R ctest --test-dir "$dir" -j"$jobs" --no-tests=error --timeout 120 -R '^base/'
}

lint() {
    tests/lint.sh
}

layers() {
    tests/layers.sh
}

# Rules, dashboard and a real Prometheus; apart, because promtool wants a core for itself.
monitoring() {
    EVERLEAF=${EVERLEAF:-$build/gcc-asan/everleaf} /usr/bin/python3 -m pytest -p no:cacheprovider -q -rsxX \
        tests/integration/test_monitoring.py
}

# pytest_in NAME ARGUMENT...: skipped tests reach the summary.
pytest_in() {
    local name=$1 parallel=() rc
    shift
    /usr/bin/python3 -c 'import xdist' 2>/dev/null && parallel=(-n "${EVERLEAF_TEST_JOBS:-$((jobs + 1))}")
    EVERLEAF=${EVERLEAF:-$build/gcc-asan/everleaf} EVERLEAF_RELEASE=${EVERLEAF_RELEASE:-$build/everleaf} \
        /usr/bin/python3 -m pytest -p no:cacheprovider -q -rsxX --durations=10 "${parallel[@]}" \
        "$@" | tee "$logs/$name.txt"
    rc=$?
    while read -r line; do
        skip "${line#SKIPPED }"
    done < <(grep '^SKIPPED ' "$logs/$name.txt")
    return $rc
}

integration() {
    pytest_in integration tests/integration --ignore tests/integration/test_monitoring.py \
        --ignore tests/integration/test_server_types.py
}

# Every server type against the real program; writes build/servers.md.
servers() {
    rm -rf "$build/servers" "$build/servers.md"
    pytest_in servers tests/integration/test_server_types.py && cat "$build/servers.md"
}

steps=(packages pebble release layers lint gcc clang threads monitoring integration servers)

run_step() {
    case $1 in
    packages) install_packages ;;
    pebble) fetch_pebble ;;
    release | layers | lint | threads | monitoring | integration | servers) "$1" ;;
    gcc | clang) sanitized "$1" ;;
    *)
        echo "no step \"$1\"; there are: ${steps[*]}" >&2
        exit 2
        ;;
    esac
}

skip() {
    echo "$*" >>"$logs/skipped"
    echo "SKIPPED: $*"
}

if [ "${1-}" = --list ]; then
    printf '%s\n' "${steps[@]}"
    exit 0
fi
[ $# -eq 0 ] || steps=("$@")

rm -f "$logs/skipped"
began=$SECONDS
failed=()
for step in "${steps[@]}"; do
    start=$SECONDS
    echo "==== $step"
    run_step "$step" 2>&1 | tee "$logs/$step.log"
    status=${PIPESTATUS[0]}
    if [ "$status" -eq 0 ]; then
        echo "==== $step: PASS ($((SECONDS - start)) s)"
    else
        echo "==== $step: FAIL, status $status ($((SECONDS - start)) s), log: build/gate/$step.log"
        failed+=("$step")
    fi
done

echo
if [ -s "$logs/skipped" ]; then
    sed 's/^/SKIPPED: /' "$logs/skipped"
fi
if [ ${#failed[@]} -ne 0 ]; then
    echo "FAIL: ${failed[*]} (of: ${steps[*]}) after $((SECONDS - began)) s"
    exit 1
fi
echo "PASS: ${steps[*]} in $((SECONDS - began)) s"
