#!/usr/bin/env bash
# The data stages under kills and stops at random moments: folder hashes must equal an undisturbed run's. First all three stages
# on the whole demonstration data (20 kill -9 each), then clean on an archive of 20,000 records (100 stops, 100 kills).
# Usage: scripts/storm_data.sh [--count N]
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv-oracles/bin/python
[ -x "$python" ] || python=python3
"$python" tests/ingest/determinism_test.py --kills 20 --limit 0
exec "$python" scripts/storm_data.py "$@"
