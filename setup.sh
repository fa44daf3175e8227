#!/usr/bin/env bash
# Install requirements files into .venv; nothing to do when they have not changed since.
# Usage: ./setup.sh requirements.txt [requirements-dev.txt]
set -euo pipefail
cd "$(dirname "$0")"

venv=.venv
last="${!#}"
stamp="$venv/.installed-$(basename "$last" .txt)"
# The path is part of it: a .venv that was moved has wrong paths inside.
wanted="$( { pwd -P; cat requirements.txt "$@" sdk/pyproject.toml; } | sha256sum | cut -d' ' -f1)"

if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then exit 0; fi

good() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
if [[ ! -x $venv/bin/python ]] || ! good "$venv/bin/python"; then
  python=""
  for candidate in python3.11 python3.12 python3.13 python3 python; do
    if command -v "$candidate" >/dev/null && good "$candidate"; then python=$candidate; break; fi
  done
  if [[ -z $python ]]; then
    echo "setup: Python 3.11 or later with its venv module is needed, and none was found." >&2
    echo "       On Debian or Ubuntu: apt install python3 python3-venv" >&2
    exit 1
  fi
  echo "setup: making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi

# pip itself works out what is missing and how large it is; nothing is installed by this step.
echo "setup: asking what has to be downloaded for $last"
report=$(mktemp)
trap 'rm -f "$report"' EXIT
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
if "${pip[@]}" install --quiet --dry-run --report "$report" -r "$last" 2>/dev/null; then
  "$venv/bin/python" propius_site/download_size.py "$report"
else
  echo "setup: the size is not known beforehand (about 350 MB with CPU-only torch, 3 GB with CUDA)"
fi
"${pip[@]}" install --quiet -r "$last"
echo "$wanted" >"$stamp"
echo "setup: done, in $venv"
