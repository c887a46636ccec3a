#!/bin/bash
# Formatting, static analysis, size limits, shell scripts, spelling. Prints every finding; exit 1 if any.
# shellcheck disable=SC2317  # the checks are called by name
set -u
cd "$(dirname "$(readlink -f "$0")")/.." || exit 2
bad=0

check() { # check NAME COMMAND...
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        echo "$name: ok"
    else
        printf '%s\n%s: FAIL\n' "$out" "$name"
        bad=1
    fi
}

# Our files; without git, or when it does not trust the folder's owner, all but what is built.
files() {
    git ls-files -co --exclude-standard 2>/dev/null ||
        find . \( -path ./.git -o -path './build*' -o -name __pycache__ -o -name .pytest_cache \) -prune \
            -o -type f -printf '%P\n'
}

mapfile -t all < <(files | sort)
mapfile -t sources < <(printf '%s\n' "${all[@]}" | grep '\.[ch]$')
mapfile -t scripts < <(printf '%s\n' "${all[@]}" | while read -r f; do
    [ -f "$f" ] && head -n 1 "$f" | grep -qaE '^#!.*\b(bash|sh)\b' && echo "$f"
done)
if [ ${#sources[@]} -lt 100 ] || [ ${#scripts[@]} -lt 3 ]; then
    echo "only ${#sources[@]} sources and ${#scripts[@]} scripts found: nothing is checked" >&2
    exit 1
fi

# Not the tests: assertions that end a test are invisible to it.
analyse() {
    # shellcheck disable=SC2046  # no blanks in our names
    cppcheck -q -j "$(nproc)" --std=c11 --enable=warning,performance,portability --inline-suppr \
        --error-exitcode=1 --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
        --suppress=unmatchedSuppression --suppress=varFuncNullUB -D_GNU_SOURCE \
        -DEVERLEAF_VERSION='"0"' -I . $(printf '%s\n' "${sources[@]}" | grep -v '_test\.c$' | grep '\.c$')
}

# Complexity over 15 or more than 100 lines. tests/pmccabe.excused: "FUNCTION reason" a line.
sizes() {
    pmccabe "${sources[@]}" | awk '
        BEGIN { while ((getline line < "tests/pmccabe.excused") > 0) { split(line, w, " "); excused[w[1]] = 1 } }
        $2 > 15 && !($7 in excused) { print $6 " " $7 ": complexity " $2 ", at most 15"; bad = 1 }
        $5 > 100 && !($7 in excused) { print $6 " " $7 ": " $5 " lines, at most 100"; bad = 1 }
        END { exit bad }'
}

check clang-format clang-format --dry-run -Werror "${sources[@]}"
check pmccabe sizes
check shellcheck shellcheck "${scripts[@]}"
check codespell codespell -q 3 --skip '.git,build,build-*' --ignore-words tests/codespell.ignore .
check cppcheck analyse
exit $bad
