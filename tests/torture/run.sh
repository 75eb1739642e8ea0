#!/usr/bin/env bash
# run - the long fault runs of `make torture`
#
#   tests/torture/run.sh PENSTOCK      environment: PEN_KILLS (500), PEN_SEED
#
# Random SIGKILLs over real runs, and a SIGKILL at each of the first write-class system calls of a small run: every one ends
# in a store equal to the uninterrupted one, with `penstock verify` clean.
set -uo pipefail
cd "$(dirname "$0")/../.."
penstock=$(realpath "$1")
good=0
bad=0

storm=$(PEN_KILLS=${PEN_KILLS:-500} /usr/bin/python3 tests/cli/run.py "$penstock" kill_storm)
echo "$storm"
good=$((good + $(sed -nE 's/^([0-9]+) passed, .*/\1/p' <<<"$storm")))
bad=$((bad + $(sed -nE 's/^.* ([0-9]+) failed$/\1/p' <<<"$storm")))

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for i in $(seq 1 3000); do echo "{\"id\":\"$((i * 7919 % 3001))\",\"n\":$i}"; done >"$dir/in.ndjson"
dump() { mdb_dump -s default "$1" | sed '1,/HEADER=END/d' | md5sum; }
"$penstock" --store "$dir/whole" run "$dir/in.ndjson" --key /id --chunk 300 --quiet >/dev/null
whole=$(dump "$dir/whole")
calls=pwrite64,pwritev,writev,fdatasync,fsync,ftruncate,rename,renameat,renameat2
points=0
for n in $(seq 1 400); do
	rm -rf "$dir/killed"
	strace -f -qq -o /dev/null -e trace=$calls -e inject=$calls:signal=SIGKILL:when="$n" \
		"$penstock" --store "$dir/killed" run "$dir/in.ndjson" --key /id --chunk 300 --quiet >/dev/null 2>&1 && break
	points=$((points + 1))
	if "$penstock" --store "$dir/killed" run "$dir/in.ndjson" --key /id --chunk 300 --quiet >/dev/null &&
		"$penstock" --store "$dir/killed" verify --quiet >/dev/null && [ "$(dump "$dir/killed")" = "$whole" ]; then
		good=$((good + 1))
	else
		bad=$((bad + 1))
		echo "FAIL killed at write-class call $n"
	fi
done
echo "killed at $points write-class calls"
[ "$points" -gt 5 ] || bad=$((bad + 1))
# The control: a store that lacks the last records is told apart.
head -n 2000 "$dir/in.ndjson" >"$dir/cut.ndjson"
"$penstock" --store "$dir/cut" run "$dir/cut.ndjson" --key /id --quiet >/dev/null
if [ "$(dump "$dir/cut")" = "$whole" ]; then
	bad=$((bad + 1))
	echo "FAIL the comparison does not see missing records"
fi
echo "$good passed, $bad failed"
[ "$bad" = 0 ]
