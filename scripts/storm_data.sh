#!/usr/bin/env bash
# The data stages on the whole demonstration data under 20 kill -9 each: folder hashes must equal an undisturbed run's.
# Usage: scripts/storm_data.sh [--kills N] [--limit PICTURES] [--seed S]
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv-oracles/bin/python
[ -x "$python" ] || python=python3
exec "$python" tests/ingest/determinism_test.py --kills 20 --limit 0 "$@"
