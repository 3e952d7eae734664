# Shared by .ci/run and .ci/nightly: which Python, and steps that are timed and summed up.

SUPPORTED_PYTHONS="python3.13 python3.12 python3.11 python3"

# find_python CANDIDATE...: prints the first that runs and is new enough.
find_python() {
    local candidate
    for candidate; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "no Python >= 3.11 among: $*" >&2
    return 1
}

run() {
    printf '+ %s\n' "$*"
    "$@"
}

# step NAME COMMAND...: runs COMMAND with -e in force, and notes how it ended and how long it took.
names=() outcomes=() seconds=() failed=0
step() {
    local name=$1 start=$SECONDS status outcome=ok
    shift
    printf '\n=== %s\n' "$name"
    set +e
    (set -e; "$@")
    status=$?
    set -e
    if ((status)); then
        outcome="FAILED (status $status)"
        failed=1
    fi
    names+=("$name") outcomes+=("$outcome") seconds+=($((SECONDS - start)))
    printf -- '--- %s: %s, %d s\n' "$name" "$outcome" "$((SECONDS - start))"
}

summarise() {
    local i
    printf '\n=== summary of %s\n' "$0"
    for i in "${!names[@]}"; do
        printf '%5d s  %-28s %s\n' "${seconds[i]}" "${names[i]}" "${outcomes[i]}"
    done
    printf '%5d s  in all\n' "$SECONDS"
}

# copy_checkout FOLDER: what git tracks or would add, as it stands in the working tree.
copy_checkout() {
    mkdir -p "$1"
    git ls-files -z --cached --others --exclude-standard |
        tar --null --ignore-failed-read -cf - -T - | tar -xf - -C "$1"
}

exec </dev/null
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV FASTOPT_DEBUG
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PYTHONUNBUFFERED=1 MPLBACKEND=Agg
work=$(mktemp -d -t fastopt-ci.XXXXXX)
trap 'rm -rf "$work"' EXIT
