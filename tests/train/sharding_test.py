#!/usr/bin/env python3
"""Ways of sharding give the same bits, and continue one another's checkpoints (scripts/sharding_matrix.py is the long form)."""
import os
import pathlib
import sys

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "scripts"))
import sharding_matrix  # noqa: E402

sys.exit(sharding_matrix.main(["--short"]))
