#!/usr/bin/env bash
# run.sh check|reference [options]: what scripts/gpu_check.sh does, on a machine that has Python with torch 2.11 (CUDA 13) and
# nothing else of ours. LibTorch, CUDA and NCCL are those of its Python (MICRODIT_PYTHON, else python3).
#   run.sh check       every GPU path right? speed of phase 1; at most 4 minutes; without a GPU the CPU half
#   run.sh reference   the original's PyTorch code beside ours; at most 4 minutes (MICRODIT_REFERENCE, if it was not packed)
#   run.sh unpack      only that; prints the folder
# Tables (Markdown, JSON) go to $OUT, else ./results; a pass in gpu_check.json there, put beside bin/ of the build, allows this card its
# GPU code.
set -euo pipefail
bundle=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mode=${1:-check}; [ $# = 0 ] || shift
case $mode in check | reference | unpack) ;; *) echo "run.sh: unknown word '$mode'; known: check, reference, unpack" >&2; exit 2 ;; esac
python=${MICRODIT_PYTHON:-python3}
unpacked=${MICRODIT_UNPACK:-$bundle/unpacked}

if ! cmp -s "$bundle/SHA256" "$unpacked/SHA256"; then
  rm -rf "$unpacked"; mkdir -p "$unpacked"
  "$python" - "$bundle" "$unpacked" <<'PYTHON'
import hashlib, sys, tarfile
bundle, unpacked = sys.argv[1:]
with open(f"{bundle}/payload.tar.xz", "rb") as file:
    if hashlib.file_digest(file, "sha256").hexdigest() != open(f"{bundle}/SHA256").read().split()[0]:
        sys.exit("run.sh: payload.tar.xz is damaged: copy the bundle again")
with tarfile.open(f"{bundle}/payload.tar.xz") as tar:
    tar.extractall(unpacked, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
PYTHON
  cp "$bundle/SHA256" "$unpacked/SHA256"
fi
[ "$mode" != unpack ] || { echo "$unpacked"; exit 0; }

libraries=$("$python" - <<'PYTHON'
import glob, os, sys
try:
    import torch
except ImportError as error:
    sys.exit(f"run.sh: {sys.executable} has no torch ({error}); set MICRODIT_PYTHON to one that has torch 2.11")
if not torch.__version__.startswith("2.11."):
    sys.exit(f"run.sh: torch {torch.__version__} here; the programs are built for 2.11")
lib = os.path.join(os.path.dirname(torch.__file__), "lib")
nvidia = os.path.join(os.path.dirname(os.path.dirname(lib)), "nvidia")
print(":".join([lib, *sorted(glob.glob(f"{nvidia}/*/lib"))]))
PYTHON
)
# Only the programs see these; Python runs with its own.
export MICRODIT_LIBRARY_PATH=$unpacked/lib:$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export MICRODIT_MPIRUN=$unpacked/mpi/bin/mpirun
export OPAL_PREFIX=$unpacked/mpi OPAL_LIBDIR=$unpacked/mpi/lib OPAL_PKGLIBDIR=$unpacked/mpi/lib/openmpi3 OPAL_SYSCONFDIR=$unpacked/mpi/etc
export OPAL_PKGDATADIR=$unpacked/mpi/share/openmpi OMPI_MCA_mca_base_component_path=$unpacked/mpi/lib/openmpi3 OMPI_MCA_plm=isolated
export PMIX_INSTALL_PREFIX=$unpacked/mpi PMIX_MCA_mca_base_component_path=$unpacked/mpi/lib/pmix
[ ! -d "$unpacked/original" ] || export MICRODIT_REFERENCE=${MICRODIT_REFERENCE:-$unpacked/original}
export MICRODIT_DATA=$unpacked/data PYTHONDONTWRITEBYTECODE=1
exec "$python" "$unpacked/scripts/gpu_check.py" "$mode" "$@" --bin "$unpacked/bin" --configs "$unpacked/configs" \
  --codec "$unpacked/assets/emoji_codec" --latents "$unpacked/data/latents/small" --out "${OUT:-results}" --proof "$unpacked/gpu_check.json"
