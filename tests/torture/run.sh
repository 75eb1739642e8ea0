#!/usr/bin/env bash
# run - the long fault runs of `make torture`
#
#   tests/torture/run.sh PENSTOCK [SUITE]...      suites and environment: see suites.py
#
# What is mounted is seen by this process and its children alone, and goes with them however they end.
set -euo pipefail
suites=("/usr/bin/python3" "$(dirname "$0")/suites.py" "$@")
if unshare --mount --propagation private true 2>/dev/null; then
	exec unshare --mount --propagation private "${suites[@]}"
fi
exec "${suites[@]}"
