#!/bin/sh
# Run the tests of the functions' code on every Python that Lambda offers and this machine has.
#
# Usage: sh local/versions.sh PYTHON [more for pytest]
# PYTHON is the one of the environment of development, which has uv. Nothing is downloaded but packages.
set -eu

python="$1"
shift
tried=""
# Those of pyenv are on the PATH only as far as it was told to.
for folder in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-4]*/bin; do
    PATH="$folder:$PATH"
done
export PATH
for version in 3.11 3.12 3.13 3.14; do
    if ! found="$("$python" -m uv python find --no-project --no-python-downloads \
        --system "$version" 2>/dev/null)"; then
        echo "== Python $version: not on this machine"
        continue
    fi
    echo "== $("$found" --version)"
    environment=".local/pythons/$version"
    "$python" -m uv venv --quiet --clear --python "$found" "$environment"
    "$python" -m uv pip install --quiet --python "$environment/bin/python" \
        --requirement requirements-dev.txt --requirement functions/requirements.txt
    "$environment/bin/python" -m pytest tests/unit tests/integration --numprocesses 2 \
        -p no:cacheprovider "$@"
    tried="$tried $version"
done
echo "All passed on:${tried:- none}"
