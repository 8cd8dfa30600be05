#!/usr/bin/env bash
# gpu_bundle.sh [BUILD]: packs BUILD/bundle/ (BUILD: build-cuda, else build): run.sh and one payload with stripped programs, the shared
# libraries that a bare Ubuntu 24.04 with Python and torch 2.11 lacks, Open MPI, the checks and small data, at most 60 MiB in all.
# Copy the folder to a machine with a GPU and run `bundle/run.sh check` there. Not packed: torch, CUDA and NCCL, which come with that
# machine's Python. MICRODIT_REFERENCE=<checkout of the original> packs the model files of that too, for `run.sh reference`.
set -euo pipefail
cd "$(dirname "$0")/.."
LIMIT_MIB=60
build=${1:-}
[ -n "$build" ] || { build=build-cuda; [ -x $build/bin/probe ] || build=build; }
bundle=$build/bundle
programs=()
for program in probe train convert generate doctor; do programs+=("$build/bin/$program"); done
# Makes the random latents of phase 1; without torch, so any build's will do.
loader_bench=$build/bin/loader_bench
[ -x "$loader_bench" ] || loader_bench=build/bin/loader_bench
programs+=("$loader_bench")
for program in "${programs[@]}"; do
  [ -x "$program" ] && continue
  echo "gpu_bundle.sh: $program is not built: cmake --build $(dirname "$(dirname "$program")") --target jobs (or loader_bench)" >&2; exit 2
done
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage"/{bin,lib,mpi/bin,mpi/lib/openmpi3,mpi/lib/pmix,mpi/etc,mpi/share/openmpi,scripts,assets,data/latents}

# Of the base system (glibc, GCC's run time), of the driver, or of the Python that has torch.
FOREIGN='^(linux-vdso|ld-linux-x86-64|libc|libm|libdl|libpthread|librt|libresolv|libutil|libstdc\+\+|libgcc_s|libcuda|libnvidia-ml'
FOREIGN+='|libtorch[a-z_]*|libc10[a-z_]*|libcudart|libcupti|libnccl|libcublas[a-zA-Z]*|libcudnn[a-z_]*|libcufft|libcufile|libcurand|libcusolver'
FOREIGN+='|libcusparse[a-zA-Z]*|libnvrtc|libnvJitLink|libnvshmem_host|libnvToolsExt|libgomp[-0-9a-f]*)\.so'

# needs FILE...: the shared libraries of all of them that are neither foreign nor packed yet, as "name path".
needs() {
  local file
  for file in "$@"; do ldd "$file" 2>/dev/null || true; done \
    | awk '$2 == "=>" { print $1, $3 == "not" ? "-" : $3 }' | sort -u | grep -Ev "$FOREIGN" || true
}

pack_libraries() {
  local name path
  while read -r name path; do
    [ "$path" != - ] || { echo "gpu_bundle.sh: $name is needed and not on this machine" >&2; exit 1; }
    [ -e "$stage/lib/$name" ] || cp -L "$path" "$stage/lib/$name"
  done < <(needs "$@")
}

# Networks, schedulers and OpenSHMEM have no use on one machine, and their libraries are large.
pack_mpi() {
  local plugins; plugins=$(ompi_info --path pkglibdir --parsable | cut -d: -f3-)
  [ -d "$plugins" ] || plugins=$(ompi_info --path libdir --parsable | cut -d: -f3-)/openmpi3
  find "$plugins" -name 'mca_*.so' | grep -Ev 'ucx|ofi|openib|psm|slurm|gridengine|flux|jsm|rsh|monitoring|memheap|sshmem|scoll|spml|debugger' \
    | xargs cp -t "$stage/mpi/lib/openmpi3"
  cp "$(ompi_info --path pkgdatadir --parsable | cut -d: -f3-)"/help-*.txt "$stage/mpi/share/openmpi"
  cp -L "$(command -v mpirun)" "$stage/mpi/bin/mpirun"
  touch "$stage/mpi/etc/openmpi-mca-params.conf" "$stage/mpi/etc/openmpi-default-hostfile"
  local pmix; pmix=$(ldd "$stage/mpi/lib/openmpi3"/mca_pmix_ext*.so | awk '/libpmix/ { print $3 }')
  find "$(dirname "$(readlink -f "$pmix")")/pmix" -name '*zlib*.so' -exec cp -t "$stage/mpi/lib/pmix" {} + 2>/dev/null || true
  pack_libraries "$stage"/mpi/bin/mpirun "$stage"/mpi/lib/*/*.so
}

pack_programs() {
  local program
  for program in "${programs[@]}"; do
    strip -o "$stage/bin/$(basename "$program")" "$program"
    # The folders of this machine say nothing on another one.
    cmake -DFILE="$stage/bin/$(basename "$program")" -P scripts/bundle/remove_rpath.cmake
  done
  pack_libraries "${programs[@]}"
  find "$stage/lib" "$stage/mpi/lib" -name '*.so*' -exec strip --strip-unneeded {} +
}

# A part of the demonstration's pictures, in one latents folder.
pack_data() {
  local data=${MICRODIT_TEST_DATA:-$build/test_data}
  MICRODIT_SOURCE=$PWD MICRODIT_BIN=$PWD/$build/bin bash tests/emoji_small.sh "$data" >&2
  cp -r "$data/latents/emoji_small" "$stage/data/latents/small"
  cp -r configs "$stage/"; cp -r assets/emoji_codec "$stage/assets/"
}

pack_checks() {
  cp scripts/gpu_check.py scripts/bundle/*.py tests/parity/reference.py "$stage/scripts/"
  [ -n "${MICRODIT_REFERENCE:-}" ] || return 0
  [ -f "$MICRODIT_REFERENCE/micro_diffusion/models/dit.py" ] \
    || { echo "gpu_bundle.sh: MICRODIT_REFERENCE=$MICRODIT_REFERENCE: no micro_diffusion/models/dit.py in it" >&2; exit 2; }
  mkdir -p "$stage/original/micro_diffusion/models"
  cp "$MICRODIT_REFERENCE"/micro_diffusion/models/{dit,model,utils}.py "$stage/original/micro_diffusion/models/"
  cp "$MICRODIT_REFERENCE/LICENSE" "$stage/original/" 2>/dev/null || true
}

pack_programs
pack_mpi
pack_data
pack_checks
rm -rf "$bundle"; mkdir -p "$bundle"
cp scripts/bundle/run.sh "$bundle/"
tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -c . | xz -6 -T0 >"$bundle/payload.tar.xz"
(cd "$bundle" && sha256sum payload.tar.xz >SHA256)
kib=$(du -sk --apparent-size "$bundle" | cut -f1)
du -sk --apparent-size "$stage"/* | sort -rn | awk '{ sub(".*/", "", $2); printf "  %-10s %6.1f MiB unpacked\n", $2, $1 / 1024 }' >&2
if [ "$kib" -gt $((LIMIT_MIB * 1024)) ]; then
  echo "gpu_bundle.sh: $bundle is $((kib / 1024)) MiB, above $LIMIT_MIB" >&2; rm -rf "$bundle"; exit 1
fi
echo "$bundle: $((kib / 1024)) MiB; copy it and run: bundle/run.sh check" >&2
