# Sourced by the other scripts: makes .venv from uv.lock, or does nothing where it is up to date.
# Leaves the caller in the repository root with .venv first on the PATH.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"

UV_VERSION="0.13.8"
# A proxy's own certificate authority is known to the system, not to uv.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
export UV_PYTHON_DOWNLOADS=never

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Print the first Python that is new enough; PYTHON=... names another.
find_python() {
    local name names="${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}"
    for name in $names; do
        if is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    die "Python 3.11 or newer is needed; tried: $names." \
        "Install one, or name it: PYTHON=/path/to/python3.12 $0"
}

# make_venv FOLDER: an empty environment; one that works already is kept.
make_venv() {
    local folder=$1 python
    if is_new_enough "$folder/bin/python" && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    python="$(find_python)"
    "$python" -c 'import ensurepip, venv' 2>/dev/null \
        || die "$python cannot make environments: install its venv module (Debian: python3-venv)."
    "$python" -m venv --clear "$folder"
}

# locked COMMAND...: two scripts that start at once set up one after the other. Where flock is
# missing (macOS) they do not wait.
locked() {
    if command -v flock >/dev/null 2>&1; then
        (
            flock 9
            "$@"
        ) 9>"$ROOT/.setup.lock"
    else
        "$@"
    fi
}

# fingerprint FILE...: changes whenever one of the files does.
fingerprint() {
    git hash-object "$@" | tr '\n' ' '
}

sync_main() {
    local wanted
    wanted="$(fingerprint uv.lock pyproject.toml scripts/setup.sh)"
    [[ "$(cat .venv/.synced 2>/dev/null)" == "$wanted" ]] && return
    printf 'Setting up .venv (a minute or two the first time)\n' >&2
    make_venv .venv
    if [[ "$(.venv/bin/uv --version 2>/dev/null)" != "uv $UV_VERSION "* ]]; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    fi
    UV_PROJECT_ENVIRONMENT="$ROOT/.venv" VIRTUAL_ENV="$ROOT/.venv" \
        .venv/bin/uv sync --quiet --frozen --all-extras --no-extra semantic --compile-bytecode
    printf '%s' "$wanted" >.venv/.synced
}

locked sync_main

export VIRTUAL_ENV="$ROOT/.venv"
export PATH="$VIRTUAL_ENV/bin:$PATH"
unset PYTHONHOME
