#!/usr/bin/env python3
"""Four kills and two stops of a 2-rank training, resident in fp32 and sharded in full in bf16: each end is bit-identical
(scripts/storm_train.py is the long form)."""
import os
import pathlib
import sys

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "scripts"))
import storm_train  # noqa: E402

sys.exit(storm_train.main(["--kills", "4", "--stops", "2", "--modes", "grad_op/fp32,full/bf16", *sys.argv[1:]]))
