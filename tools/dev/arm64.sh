#!/usr/bin/env bash
# arm64 - do the C rooms compile for aarch64? The libraries' headers are the host's: no linking, no running
set -uo pipefail
cd "$(dirname "$0")/../.."
cross=${CROSS:-aarch64-linux-gnu-gcc}
command -v "$cross" >/dev/null || { echo "arm64-check: no $cross here (tools/dev/deps.sh arm64)"; exit 77; }
bad=0
for file in $({ find ring store engine -name '*.c' || true; } 2>/dev/null | sort); do
	"$cross" -std=c17 -D_GNU_SOURCE -I. -idirafter /usr/include -Wall -Wextra -Werror -fsyntax-only "$file" ||
		{ echo "FAIL arm64 $file"; bad=1; }
done
[ $bad -ne 0 ] || echo "ok   arm64: ring, store and engine compile"
exit $bad
