#!/bin/bash
# containers/: both definitions install by scripts/container_install.sh alone, and give it every file that it needs. The whole
# way, in a bare Debian, is scripts/container_check.sh (a quarter of an hour).
set -u
cd "${MICRODIT_SOURCE:?}" || exit 1
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
for file in containers/microdit.def containers/Dockerfile; do
  grep -q '/src/scripts/container_install.sh /opt/microdit' $file || fail "$file does not call scripts/container_install.sh"
  ! grep -nE '^[^#]*(apt-get|pip3? install|cmake -|ninja |wget |curl )' $file || fail "$file installs by itself"
  # Everything that the build files name is copied.
  for path in CMakeLists.txt cmake jobs src scripts slurm configs assets README.md LICENSE CHANGELOG.md; do
    [ -e $path ] || fail "$path: no such file"
    grep -qE "(^| )$path( |$)" $file || fail "$file does not copy $path"
  done
done
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy/scripts" "$copy/.venv" && cp scripts/container_install.sh "$copy/scripts/"
"$copy/scripts/container_install.sh" >"$copy/out" 2>&1; code=$?
[ "$code $(grep -c 'is for an image' "$copy/out")" = "2 1" ] || fail "a checkout's .venv is not protected: exit $code, $(cat "$copy/out")"
rmdir "$copy/.venv"
MICRODIT_CUDA=maybe "$copy/scripts/container_install.sh" >"$copy/out" 2>&1; code=$?
[ "$code $(grep -c 'expected AUTO, ON or OFF' "$copy/out")" = "2 1" ] || fail "MICRODIT_CUDA=maybe: exit $code, $(cat "$copy/out")"
[ $failures = 0 ] && echo passed
exit $((failures > 0))
