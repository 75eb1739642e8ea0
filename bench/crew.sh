#!/usr/bin/env bash
# crew - exec:/bin/true against xargs -P2, in turns, and a worker that gives items back
#
#   B=build/release bench/crew.sh [ITEMS [PAIRS]]       (run.sh calls it; one JSON line a measurement on stdout)
set -euo pipefail
cd "$(dirname "$0")/.."
B=${B:-build/release}
items=${1:-5000}
pairs=${2:-5}

for ((i = 0; i < pairs; i++)); do
	"$B/bench/bench_crew" exec "$items"
	begun=$(date +%s%N)
	seq "$items" | xargs -P2 -n1 /bin/true
	ended=$(date +%s%N)
	jq -nc --argjson items "$items" --argjson ns $((ended - begun)) '{bench: "xargs_P2", items: $items, jobs: 2,
		seconds: ($ns / 1e9), items_per_s: ($items * 1e9 / $ns | round)}'
done
for ((i = 0; i < pairs; i++)); do
	"$B/bench/bench_crew" worker $((items * 100)) "$B/tests/hostile/echo_worker" 1 64
done
