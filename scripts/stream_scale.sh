#!/usr/bin/env bash
# stream_scale.sh [SHARDS]: opens a folder of 20,000 shards x 5,000 rows (100 million samples; all shards are links to one) and
# prints the time, the memory and the files it took, and from how many shards a batch of 2,048 comes. About a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
MICRODIT_SCALE_SHARDS=${1:-20000} build/bin/test_stream --gtest_filter='ScaleTest.*'
