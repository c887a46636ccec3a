#!/bin/bash
# The main job of Everleaf, for real and on this machine alone: a local CA (Pebble), an nginx, one
# certificate issued and proven, then renewed while nginx is under requests, and proven again.
#
#   examples/quickstart.sh           show it, then clean up
#   examples/quickstart.sh --keep    leave CA, nginx and agent running to play with
#
# Debian 12, as root or with sudo (only to install packages). Everything it makes is in the build folder
# and in one temporary folder; it listens on loopback only: 5002 and 5443 (nginx), 9402 and 9480
# (Everleaf), 8053, 8055, 14000, 15000 (the CA and its name server).
set -u -o pipefail
export LC_ALL=C.UTF-8

root=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
examples=$root/examples/quickstart
build=${EVERLEAF_BUILD:-$root/build}
began=$SECONDS
keep=''
case ${1-} in
'') ;;
--keep) keep=yes ;;
*)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    [ "$1" = --help ] || [ "$1" = -h ]
    exit $((2 * $?))
    ;;
esac

bold='' plain='' green='' red=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
    bold=$'\e[1m' plain=$'\e[0m' green=$'\e[32m' red=$'\e[31m'
fi
step() { printf '\n%s==> %s%s\n' "$bold" "$*" "$plain"; }
good() { printf '%s  ok  %s%s\n' "$green" "$plain" "$*"; }
fail() {
    printf '%s fail %s%s\n' "$red" "$plain" "$1" >&2
    if [ -n "${2-}" ] && [ -s "$2" ]; then
        echo "       the end of $2:" >&2
        tail -n 15 "$2" | sed 's/^/       /' >&2
    fi
    exit 1
}
show() { # show COMMAND...: as a user would type it
    printf '%s  $ %s%s\n' "$bold" "${*/#"$build/everleaf"/everleaf}" "$plain"
    "$@" 2>&1 | sed 's/^/    /'
}
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
wait_for() { # wait_for WHAT LOG COMMAND...: at most 20 seconds
    local what=$1 log=$2 tries=400
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "$what did not come up" "$log"
        sleep 0.05
    done
}
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

# Packages and build -------------------------------------------------------------------------------

packages=(
    gcc cmake ninja-build pkg-config libcurl4-openssl-dev libfyaml-dev libidn2-dev libjansson-dev
    libmicrohttpd-dev libpsl-dev libssl-dev libsystemd-dev uthash-dev
    nginx-light pebble openssl curl
)

step "Packages"
missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
        missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "  installing ${missing[*]}"
    log=$(mktemp) || exit 1
    # Debian starts an nginx on port 80 when it is installed; this one shall not.
    policy=/usr/sbin/policy-rc.d
    made_policy=''
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod 755 $policy
        made_policy=yes
    fi
    install=(env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends)
    as_root "${install[@]}" "${missing[@]}" >"$log" 2>&1 ||
        { as_root apt-get update -qq && as_root "${install[@]}" "${missing[@]}"; } >"$log" 2>&1
    rc=$?
    [ -z "$made_policy" ] || as_root rm -f $policy
    [ $rc -eq 0 ] || fail "the packages could not be installed" "$log"
    rm -f "$log"
fi
good "${#packages[@]} packages are there"

step "Build"
{
    cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DEVERLEAF_TESTS=OFF &&
        ninja -C "$build" everleaf
} >"$build.log" 2>&1 || fail "the build failed" "$build.log"
rm -f "$build.log"
everleaf=$build/everleaf
good "$("$everleaf" version | head -n 1)"

# A CA, a name server, nginx -----------------------------------------------------------------------

dir=$(mktemp -d "${TMPDIR:-/tmp}/everleaf-quickstart.XXXXXX") || exit 1
pids=()
cleanup() {
    local status=$?
    trap - EXIT
    if [ -n "$keep" ] && [ $status -eq 0 ]; then
        return
    fi
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do # in the reverse order of their start
        kill "${pids[i]}" 2>/dev/null && wait "${pids[i]}" 2>/dev/null
    done
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
start() { # start NAME COMMAND...: in the background, output to DIR/NAME.out
    local name=$1
    shift
    setsid "$@" >"$dir/$name.out" 2>&1 </dev/null &
    pids+=($!)
}

for port in 5002 5443 8053 8055 9402 9480 14000 15000; do
    if answers $port 2>/dev/null; then
        fail "something listens on 127.0.0.1:$port already; this quick start needs that port"
    fi
done

step "A CA and nginx on loopback ports"
mkdir -p "$dir/tls/www" "$dir/temp" "$dir/forward"
cp "$root/examples/forward/nginx.conf" "$dir/forward/"
for file in everleaf.yaml nginx.conf pebble.json; do
    sed "s#@DIR@#$dir#g" "$examples/$file" >"$dir/$file"
done
[ "$(id -u)" != 0 ] || sed -i '1i user root;' "$dir/nginx.conf" # the temporary folder is ours alone

new_cert() { # new_cert NAME CERT KEY: self-signed
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
        -addext "subjectAltName=DNS:$1,IP:127.0.0.1" -out "$2" -keyout "$3" 2>/dev/null
}
if ! new_cert localhost "$dir/pebble.pem" "$dir/pebble.key" ||
    ! cp "$dir/pebble.pem" "$dir/pebble-ca.pem" ||
    ! new_cert placeholder.example.org "$dir/tls/www/fullchain.pem" "$dir/tls/www/privkey.pem"; then
    fail "openssl could not make the certificates of the demonstration"
fi

start names pebble-challtestsrv -dns01 127.0.0.1:8053 -management 127.0.0.1:8055 -http01 '' \
    -https01 '' -tlsalpn01 '' -defaultIPv6 ''
wait_for "the name server" "$dir/names.out" answers 8055
start pebble env PEBBLE_VA_NOSLEEP=1 pebble -config "$dir/pebble.json" -dnsserver 127.0.0.1:8053
wait_for "the CA" "$dir/pebble.out" answers 14000
good "Pebble, an ACME CA for tests: https://127.0.0.1:14000/dir"
start nginx nginx -c "$dir/nginx.conf" -e "$dir/nginx.log" -g 'daemon off;'
wait_for "nginx" "$dir/nginx.log" answers 5443
good "nginx: https://www.example.org at 127.0.0.1:5443, with a self-signed placeholder"

served() { # subject, issuer and fingerprint of what nginx shows now
    openssl s_client -connect 127.0.0.1:5443 -servername www.example.org </dev/null 2>/dev/null |
        openssl x509 -noout -issuer -enddate -fingerprint -sha256 | sed 's/^/    /'
}
fingerprint() { served | sed -n 's/.*Fingerprint=//p'; }

# The main job -------------------------------------------------------------------------------------

step "The configuration"
sed '/^#/d; s/^/    /' "$dir/everleaf.yaml"
show "$everleaf" check "$dir/everleaf.yaml"

step "The agent: it sees that a certificate is missing and gets it"
start agent "$everleaf" run -c "$dir/everleaf.yaml"
wait_for "the certificate" "$dir/agent.out" curl -sf http://127.0.0.1:9402/readyz
is_proven() {
    local status
    status=$("$everleaf" status --json -c "$dir/everleaf.yaml") &&
        grep -qE '"activity": ?null' <<<"$status" && grep -qE '"serves_live": ?true' <<<"$status"
}
wait_for "the proof" "$dir/agent.out" is_proven
show "$everleaf" status -c "$dir/everleaf.yaml"
echo "  and this is what a client sees:"
served
first=$(fingerprint)
good "issued, written, nginx reloaded, and proven by a handshake with nginx"

step "A forced renewal while clients keep asking"
curl -sk https://127.0.0.1:15000/roots/0 >"$dir/ca.pem"
clients() { # each request is a connection of its own, verified; any that fails is noted
    local n=0
    while [ ! -e "$dir/enough" ]; do
        curl -sf --max-time 5 --cacert "$dir/ca.pem" --connect-to ::127.0.0.1:5443 \
            https://www.example.org/ >/dev/null || echo "request $n: curl $?" >>"$dir/failed"
        n=$((n + 1))
    done
    echo $n >"$dir/requests"
}
clients </dev/null >/dev/null 2>&1 &
clients=$!
show "$everleaf" renew www --force -c "$dir/everleaf.yaml"
renewed=$?
sleep 0.5 # some more requests after the switch
touch "$dir/enough"
wait "$clients"
[ $renewed -eq 0 ] || fail "the renewal failed" "$dir/agent.out"
served
second=$(fingerprint)
if [ -z "$second" ] || [ "$first" = "$second" ]; then
    fail "nginx still shows the old certificate" "$dir/agent.out"
fi
[ ! -s "$dir/failed" ] || fail "requests failed during the renewal" "$dir/failed"
good "nginx shows the new certificate; $(cat "$dir/requests") requests meanwhile, none failed"

step "What the agent tells"
show "$everleaf" status www -c "$dir/everleaf.yaml"
printf '%s  $ curl http://127.0.0.1:9402/metrics%s\n' "$bold" "$plain"
curl -s http://127.0.0.1:9402/metrics |
    grep -E '^everleaf_(certificate_(not_after|renew_at|ready)|renewals_total|endpoint_(up|serves_live)|deploys_total|rollbacks_total)' |
    sed 's/^/    /'

step "For a real name"
cat <<END
  In /etc/everleaf/everleaf.yaml, instead of the local CA:

    issuers:
      letsencrypt: {contact: you@your.domain, terms_agreed: true}     # letsencrypt-staging to try it
    challenges:
      web: {type: http-01, listen: "127.0.0.1:9480"}                 # or ":80" where nothing has port 80
    certificates:
      www: {names: [www.your.domain], servers: [nginx]}

  nginx has port 80: put examples/forward/nginx.conf into its server block. Point nginx at
  /var/lib/everleaf/live/www/fullchain.pem and privkey.pem. Then: everleaf check; everleaf run
END

printf '\n%s%s%s\n' "$green" "Done in $((SECONDS - began)) s." "$plain"
if [ -n "$keep" ]; then
    cat <<END

Still running: agent, nginx, Pebble. Try for example
    $everleaf status -c $dir/everleaf.yaml
    $everleaf renew www --force -c $dir/everleaf.yaml
    echo nonsense >>$dir/nginx.conf     # and renew again: the check stops it, the old one stays
    curl http://127.0.0.1:9402/metrics
Stop it with
    kill ${pids[*]}; rm -rf $dir
END
fi
