#!/bin/sh
# Make the virtual environment that every make target runs in, with pinned tools.
#
# Usage: sh local/setup.sh FOLDER REQUIREMENTS
# Needs nothing but a Python that both the tools and `sam build` know. Set PYTHON_BIN to choose one.
set -eu

venv="$1"
requirements="$2"
uv_version="0.13.9"

# sam build builds for exactly the Python that runs here, so it has to be a Lambda runtime.
is_suitable() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

find_python() {
    for candidate in "${PYTHON_BIN:-python3}" python3.13 python3.14 python3.12 python3.11; do
        if is_suitable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "This project needs Python 3.11 to 3.14, and none of python3, python3.11 ... python3.14" >&2
    echo "on the PATH is one. Install one, or name it: make setup PYTHON_BIN=/path/to/python3.13" >&2
    return 1
}

# Hide the warnings of a command that succeeds; show all its output if it fails.
quietly() {
    if ! said="$("$@" 2>&1)"; then
        echo "$said" >&2
        echo "Could not install the tools: see above. Is there a network? Then run it again." >&2
        exit 1
    fi
}

# An environment that works is kept; one that was left half made, or whose Python was removed or is
# unsuitable, is created again.
if is_suitable "$venv/bin/python" && "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    echo "Updating $venv ..."
else
    python="$(find_python)"
    echo "Setting up $venv with $("$python" --version) (about a minute, only this once) ..."
    rm -rf "$venv"
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        echo "Could not make $venv. On Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
fi

quietly "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
quietly "$venv/bin/python" -m uv pip install --quiet --python "$venv/bin/python" \
    --requirement "$requirements" --requirement functions/requirements.txt
