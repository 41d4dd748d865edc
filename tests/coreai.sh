#!/usr/bin/env bash
# Runs our quantized layers in Apple's Core AI runtime and compares with the stored results, or, with
# --renew, stores them. Says so and passes where the runtime or the oracle cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
oracle="${TWOLANE_SHARED:-$PWD/../shared}/tools/coreai_oracle.py"
not_run() { printf '\n!! Core AI was NOT run: %s\n!! Only its stored results were compared.\n\n' "$1"; exit 0; }

[ -f "$oracle" ] || not_run "there is no $oracle"
venv=target/coreai
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv" || not_run "python3 cannot make a virtual environment"
fi
"$venv/bin/pip" install -q --disable-pip-version-check coreai-core==1.0.0b3 numpy safetensors ||
  not_run "the wheel coreai-core 1.0.0b3 cannot be installed (it needs Linux x86-64 and Python 3.11)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/layers" "$work/results"
TWOLANE_COREAI="$work/layers" cargo test -q --locked --test coreai -- --exact layers_for_the_oracle
"$venv/bin/python" "$oracle" layer "$work"/layers/*.safetensors -d "$work/results" --check
"$venv/bin/python" fixtures/coreai/join.py "$work/results" "$work/joined.safetensors"
if [ "${1:-}" = --renew ]; then
  cp "$work/joined.safetensors" fixtures/coreai/results.safetensors
else
  cmp "$work/joined.safetensors" fixtures/coreai/results.safetensors
  echo "Core AI gives what is stored, bit for bit"
fi
