#!/bin/bash
# Who may use whom: folders, libraries, functions. The picture is in ARCHITECTURE.md.
set -u
cd "$(dirname "$(readlink -f "$0")")/.." || exit 2
findings=$(mktemp) || exit 2
trap 'rm -f "$findings"' EXIT

complain() { # complain RULE, with the offending lines on stdin (so it runs in a subshell)
    local lines
    lines=$(cat)
    [ -n "$lines" ] || return 0
    printf '%s\n    %s\n' "$1" "${lines//$'\n'/$'\n'    }" | tee -a "$findings" >&2
}

folders=(base pki acme store hooks agent)

# Folders ------------------------------------------------------------------------------------------
may_use() { # may_use FOLDER ALLOWED...: quoted includes of FOLDER come from itself and ALLOWED
    local folder=$1 allowed
    allowed=$(IFS='|' && echo "$*")
    grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$folder" --include='*.[ch]' |
        grep -vE "include[[:space:]]*\"($allowed)/" |
        complain "$folder/ may include only: $*"
}
may_use base
may_use pki base
may_use acme base pki
may_use store base pki
may_use hooks base
may_use agent base pki acme store hooks

# Libraries: each is wrapped by one file, so each can be replaced there ----------------------------
only_in() { # only_in HEADER-REGEX FILE...: included nowhere else
    local header=$1 files
    shift
    files=$(IFS='|' && echo "$*")
    grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*<($header)>" "${folders[@]}" --include='*.[ch]' |
        grep -vE "^($files):" |
        complain "<$header> may be included only by: $*"
}
only_in 'systemd/sd-event\.h' base/loop.c
only_in 'systemd/sd-daemon\.h' base/loop.c base/httpd.c
only_in 'systemd/sd-bus\.h' base/bus.c base/bus_test.c
only_in 'systemd/sd-journal\.h' base/log.c
only_in 'curl/.*' base/http.c base/http_multi.c
only_in 'microhttpd\.h' base/httpd.c
only_in 'libfyaml\.h' base/yaml.c
only_in 'jansson\.h' base/json.h
only_in 'pthread\.h' base/worker.c
only_in 'uthash\.h' base/map.c
only_in 'idn2\.h' 'pki/[a-z_]+\.[ch]'
only_in 'libpsl\.h' pki/public_suffix.c
only_in 'openssl/.*' 'pki/[a-z_]+\.[ch]' base/mem.c base/enc.c

# Functions ----------------------------------------------------------------------------------------
# Unbounded, not reentrant, or blocking the loop. (strerror is thread-safe since glibc 2.32.) Comments
# are stripped first.
banned='strcpy|strcat|sprintf|vsprintf|strtok|gets|atoi|atol|atoll|atof|system|popen|gmtime|localtime'
banned="$banned|asctime|ctime|sleep|usleep|nanosleep|fork|vfork|tmpnam|tempnam|mktemp|alloca|setjmp|longjmp"
banned="$banned|signal|rand|srand|gethostbyname|inet_ntoa|getpwnam|getgrnam"
while read -r file; do
    gcc -fpreprocessed -dD -E "$file" 2>/dev/null |
        grep -vE '^#' | grep -nE "(^|[^A-Za-z0-9_.>])($banned)[[:space:]]*\(" | sed "s|^|$file: |"
done < <(find "${folders[@]}" -name '*.[ch]' ! -name '*_test.c' ! -name 'test_*.h') | complain "banned functions"
grep -rnE '(^|[^A-Za-z0-9_])pthread_[a-z]+' "${folders[@]}" --include='*.[ch]' |
    grep -v '^base/worker\.c:' | complain "pthread_*() only in base/worker.c"

# Headers ------------------------------------------------------------------------------------------
# tsort names the members of a cycle on stderr.
grep -rE '^#include "' "${folders[@]}" --include='*.h' |
    sed -E 's/^([^:]+):#include "([^"]+)".*/\1 \2/' | tsort 2>&1 >/dev/null |
    complain "headers that include each other"
grep -rLx '#pragma once' "${folders[@]}" --include='*.h' | complain "headers without #pragma once"
while read -r file; do # a file that grows past this wants a second noun
    [ "$(wc -l <"$file")" -le 500 ] || echo "$file: $(wc -l <"$file") lines"
done < <(find "${folders[@]}" -name '*.[ch]' ! -name '*_test.c') | complain "files over 500 lines"

# Scripts ------------------------------------------------------------------------------------------
while read -r file; do
    [ "$(head -c 2 "$file")" != '#!' ] || [ -x "$file" ] || echo "$file"
done < <(git ls-files -co --exclude-standard tests examples packaging .ci 2>/dev/null ||
    find tests examples packaging .ci -type f) | complain "scripts that are not executable"

[ ! -s "$findings" ] || exit 1
echo "layers: ok"
