#!/usr/bin/env python3
"""clean under five stops and five kills of each kind of job (scripts/storm_data.py is the long form)."""
import os
import pathlib
import sys

SOURCE = pathlib.Path(os.environ.get("MICRODIT_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "scripts"))
import storm_data  # noqa: E402

sys.exit(storm_data.main(["--count", "5", "--records", "8000", "--shard-records", "100", *sys.argv[1:]]))
