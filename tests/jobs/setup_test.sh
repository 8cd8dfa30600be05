#!/bin/bash
# scripts/setup.sh on a system without apt-get: says what to load and how to go on, and makes nothing.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/scripts" "$work/bin"
cp "${MICRODIT_SOURCE:?}/scripts/setup.sh" "$work/scripts/"
for tool in bash env dirname cat date; do ln -s "$(command -v $tool)" "$work/bin/$tool"; done
failures=0
PATH=$work/bin "$work/scripts/setup.sh" >"$work/out" 2>"$work/said"; code=$?
[ $code = 2 ] || { echo "FAILED: exit code $code, expected 2"; failures=1; }
for text in "no apt-get" "yaml-cpp" "setup.sh --no-packages" "containers/"; do
  grep -q -- "$text" "$work/said" || { echo "FAILED: \"$text\" is not in:"; cat "$work/said"; failures=1; }
done
[ ! -e "$work/.venv" ] && [ ! -e "$work/data" ] || { echo "FAILED: it left something: $(ls "$work")"; failures=1; }
[ $failures = 0 ] && echo passed
exit $failures
