#!/usr/bin/env bash
# All that wants a GPU, in one table: bash scripts/gpu/run.sh [correctness] [numbers] [camvid] [PART ...]; docs/gpu.md
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${PYTHON:-python3}" -m scripts.gpu.run "$@"
