# Shared by .ci/run and .ci/nightly: which Python, which tests of GPUs, and steps that are timed and
# summed up.

SUPPORTED_PYTHONS="python3.13 python3.12 python3.11 python3"

# What needs numba-cuda, or has more to test with it.
CUDA_TESTS=(
    tests/core/test_cuda.py tests/device tests/interface/test_device.py tests/kernels/cuda
    tests/nn/test_device.py tests/rules/test_device_gradients.py tests/rules/test_device_steps.py
    tests/rules/test_textbook.py tests/solvers/test_device_first_order.py tests/testing/test_cuda.py
    tests/training/test_device.py
)

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
    local start=$SECONDS status
    printf '\n=== %s\n' "$1"
    set +e
    (set -e; "${@:2}")
    status=$?
    set -e
    note "$1" "$status" "$((SECONDS - start))"
}

# beside NAME COMMAND...: a step that runs beside the following ones. `join` waits for all of these,
# and prints what they said.
besides=()
beside() {
    local log="$work/beside.${#besides[@]}" start=$SECONDS
    besides+=("$1")
    {
        set +e
        (set -e; "${@:2}")
        echo "$? $((SECONDS - start))" >"$log.end"
    } >"$log" 2>&1 &
}

join() {
    local i status took
    wait
    for i in "${!besides[@]}"; do
        printf '\n=== %s\n' "${besides[i]}"
        cat "$work/beside.$i"
        read -r status took <"$work/beside.$i.end"
        note "${besides[i]}" "$status" "$took"
    done
}

note() {
    local outcome=ok
    if (($2)); then
        outcome="FAILED (status $2)"
        failed=1
    fi
    names+=("$1") outcomes+=("$outcome") seconds+=("$3")
    printf -- '--- %s: %s, %d s\n' "$1" "$outcome" "$3"
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
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
