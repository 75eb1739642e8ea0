#!/usr/bin/env bash
# cov - runs the unit and command tests of a coverage build and prints lines run, a line a file and a room
#
#   cov.sh BUILD
set -uo pipefail
build=$1
find "$build" -name '*.gcda' -delete
for unit in "$build"/unit-*; do
	[ -x "$unit" ] && "$unit" >/dev/null 2>&1
done
if [ -x "$build/penstock" ] && [ -f tests/cli/run.py ]; then
	/usr/bin/python3 tests/cli/run.py "$build/penstock" | tail -n 1
fi
for room in ring store engine tools; do
	find "$build/$room" -name '*.gcda' 2>/dev/null
done | sort | xargs -r gcov -n 2>/dev/null | awk '
/^File / { file = $2; gsub(/\x27/, "", file) }
/^Lines executed:/ {
	split($0, part, /[:% ]+/)
	lines = $NF; share = part[3]
	if (file ~ /^(ring|store|engine|tools)\// && !(file in seen)) {
		seen[file] = 1
		room = substr(file, 1, index(file, "/") - 1)
		total[room] += lines; run[room] += lines * share / 100
		printf "%6.1f%% of %5d  %s\n", share, lines, file
	}
}
END { for (room in total) printf "%6.1f%% of %5d  %s/\n", 100 * run[room] / total[room], total[room], room }'
