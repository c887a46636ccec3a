#!/bin/bash
# The steps of run.sh that run inside a Debian root; the packages are in /debs. Ends at the first surprise.
# shellcheck disable=SC2317  # the steps are called by name
set -eu -o pipefail
export DEBIAN_FRONTEND=noninteractive
deb=$(echo /debs/everleaf_[0-9]*_*.deb)

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

equal() { # equal WHAT EXPECTED FOUND
    [ "$2" = "$3" ] || fail "$1: expected \"$2\", found \"$3\""
}

mode() { # mode PATH EXPECTED: "0750 everleaf everleaf"
    equal "mode of $1" "$2" "$(stat -c '%04a %U %G' "$1")"
}

gone() {
    local path
    for path in "$@"; do
        if [ -e "$path" ] || [ -L "$path" ]; then fail "$path is still there"; fi
    done
}

install_deb() {
    apt-get -qq update
    apt-get -qq -y install --no-install-recommends "$@"
}

# In the root of the build --------------------------------------------------------------------------

lint() {
    lintian --allow-root --fail-on error,warning --info --tag-display-limit 0 /debs/everleaf_*.changes
}

verify_unit() { # silent: an unknown key is only a warning with status 0
    local said
    said=$(systemd-analyze verify "$1" 2>&1) || fail "verify $1: $said"
    said=$(grep -v 'is a symlink to /dev/null\|Failed to open /dev/tty' <<<"$said" || true)
    equal "verify $1" '' "$said"
}

exposure() { # exposure MAXIMUM UNIT DROP-IN...: as systemd-analyze security counts it
    local maximum=$1 unit=$2 folder score
    shift 2
    folder=$(mktemp -d)
    cat "$unit" "${@/#//usr/share/everleaf/everleaf.service.d/}" >"$folder/everleaf.service"
    score=$(systemd-analyze security --offline=yes --no-pager "$folder/everleaf.service" |
        sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
    echo "exposure of $unit $*: $score"
    awk -v s="$score" -v m="$maximum" 'BEGIN { exit !(s != "" && s <= m) }' ||
        fail "exposure of $unit $*: $score, at most $maximum"
}

# What is in the package, by the tools that will read it.
files() {
    local units=/lib/systemd/system page verb
    dpkg --unpack "$deb" >/dev/null
    [ -e $units/everleaf.service ] || units=/usr/lib/systemd/system
    useradd --system everleaf
    for page in everleaf.service everleaf-renew.service everleaf-renew.timer everleaf-http.socket; do
        verify_unit "$units/$page"
    done
    exposure 1.6 $units/everleaf.service
    exposure 1.4 $units/everleaf.service no-capability.conf
    exposure 1.2 $units/everleaf.service no-capability.conf private-users.conf
    exposure 1.6 $units/everleaf-renew.service
    grep -q '^RuntimeDirectory=' $units/everleaf-renew.service && fail "the timer's unit has a RuntimeDirectory"
    systemd-analyze calendar hourly >/dev/null
    systemd-tmpfiles --create --dry-run /usr/lib/tmpfiles.d/everleaf.conf 2>/dev/null ||
        systemd-tmpfiles --create /usr/lib/tmpfiles.d/everleaf.conf

    bash -n /usr/share/bash-completion/completions/everleaf
    zsh -n /usr/share/zsh/vendor-completions/_everleaf
    fish -n /usr/share/fish/vendor_completions.d/everleaf.fish
    equal 'fish completes a verb' renew \
        "$(fish -c 'complete -C "everleaf rene"' | cut -f 1)"
    equal 'bash completes a verb' renew "$(bash -c '. /usr/share/bash-completion/completions/everleaf
        COMP_WORDS=(everleaf rene) COMP_CWORD=1; _everleaf; echo "${COMPREPLY[*]}"')"
    equal 'bash completes an option' --no-wait "$(bash -c '. /usr/share/bash-completion/completions/everleaf
        COMP_WORDS=(everleaf renew --no-w) COMP_CWORD=2; _everleaf; echo "${COMPREPLY[*]}"')"

    for page in man1/everleaf.1 man5/everleaf.yaml.5; do
        gzip -dc "/usr/share/man/$page.gz" >"/tmp/${page#*/}"
        mandoc -T lint -W error "/tmp/${page#*/}"
    done
    for verb in $(everleaf help | sed -n 's/^  everleaf \([a-z]*\) .*/\1/p' | sort -u); do
        grep -q "^\.SS everleaf $verb" /tmp/everleaf.1 || fail "everleaf(1) has no verb $verb"
    done
    for page in terms_agreed state_dir key_mode webroot; do
        grep -q "^.fB$page" /tmp/everleaf.yaml.5 || fail "everleaf.yaml(5) does not tell of $page"
    done
}

# In a clean root -----------------------------------------------------------------------------------

install() {
    install_deb "$deb"
    equal version "everleaf $(dpkg-deb -f "$deb" Version)" "$(everleaf version | head -n 1)"
    equal 'changed files' '' "$(dpkg -V everleaf)"
    equal conffiles /etc/everleaf/everleaf.yaml \
        "$(dpkg-query -W -f '${Conffiles}' everleaf | awk 'NF { print $1 }')"

    mode /usr/bin/everleaf '0755 root root'
    mode /etc/everleaf '0755 root root'
    mode /etc/everleaf/everleaf.yaml '0644 root root'
    mode /var/lib/everleaf '0750 everleaf everleaf'
    [ "$(id -u everleaf)" -lt 1000 ] || fail 'everleaf is no system user'
    equal shell /usr/sbin/nologin "$(getent passwd everleaf | cut -d: -f7)"
    equal groups everleaf "$(id -Gn everleaf)"

    [ -L /etc/systemd/system/multi-user.target.wants/everleaf.service ] || fail 'the service is not enabled'
    gone /etc/systemd/system/timers.target.wants/everleaf-renew.timer \
        /etc/systemd/system/sockets.target.wants/everleaf-http.socket

    equal check '/etc/everleaf/everleaf.yaml: ok, 0 certificates' "$(everleaf check)"
    equal 'check by the service' '/etc/everleaf/everleaf.yaml: ok, 0 certificates' \
        "$(setpriv --reuid everleaf --regid everleaf --init-groups everleaf check)"
    everleaf renew # nothing to do, as root: must leave nothing of root's in the state
    equal "root's files in the state" '' "$(find /var/lib/everleaf ! -user everleaf)"
}

upgrade() {
    # What an administrator did in the meantime.
    echo '# mine' >>/etc/everleaf/everleaf.yaml
    echo secret >/var/lib/everleaf/marker
    chown everleaf:everleaf /var/lib/everleaf/marker
    systemctl -q disable everleaf.service
    systemctl -q enable everleaf-renew.timer

    install_deb /debs/everleaf_next.deb
    [[ $(dpkg-query -W -f '${Version}' everleaf) == *+1 ]] || fail 'not upgraded'
    equal 'own line of the configuration' '# mine' "$(tail -n 1 /etc/everleaf/everleaf.yaml)"
    equal state secret "$(cat /var/lib/everleaf/marker)"
    mode /var/lib/everleaf/marker '0644 everleaf everleaf'
    gone /etc/systemd/system/multi-user.target.wants/everleaf.service
    [ -L /etc/systemd/system/timers.target.wants/everleaf-renew.timer ] || fail 'the timer was disabled'
}

remove() {
    apt-get -qq -y remove everleaf
    gone /usr/bin/everleaf /usr/share/polkit-1/rules.d/50-everleaf.rules \
        {,/usr}/lib/systemd/system/everleaf.service
    equal state secret "$(cat /var/lib/everleaf/marker)"
    equal configuration '# mine' "$(tail -n 1 /etc/everleaf/everleaf.yaml)"
    getent passwd everleaf >/dev/null || fail 'the user is gone, but its files are not'
    install_deb "$deb" # comes back to what it left
    equal 'state after a new installation' secret "$(cat /var/lib/everleaf/marker)"
    mode /var/lib/everleaf '0750 everleaf everleaf'
}

purge() {
    apt-get -qq -y purge everleaf
    gone /var/lib/everleaf /etc/everleaf /run/everleaf
    ! getent passwd everleaf || fail 'the user is still there'
    ! getent group everleaf || fail 'the group is still there'
    equal 'what is left' '' "$(find / -xdev -name '*everleaf*' \
        ! -path '/debs/*' ! -path '/test/*' ! -path '/var/cache/*' ! -path '/proc/*')"
}

"$1"
