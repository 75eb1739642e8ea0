#!/usr/bin/env bash
# run - the models of the lock-free protocols: each must hold, and each of its mutations must be noticed
#
#   tests/models/run.sh [MODEL]...
#
# Needs relacy-dev (Debian) and a C++ compiler. Every interleaving is tried, and for each load the last value and the one
# before it, where the C11 memory model allows them. About ten seconds, of which the compiler takes most.
set -u
cd "$(dirname "$0")" || exit 1
CXX=${CXX:-g++}
out=$(mktemp -d "${TMPDIR:-/tmp}/pen-models.XXXXXX") || exit 1
trap 'rm -rf "$out"' EXIT INT TERM

if ! echo '#include <relacy/relacy.hpp>' | $CXX -std=c++14 -w -fsyntax-only -xc++ - 2>/dev/null; then
	echo "models: skipped, no relacy-dev here"
	exit 77
fi
bad=0
models=("$@")
[ $# -gt 0 ] || models=(claim_tail flip_latch names wake lane_close)
jobs=()
for model in "${models[@]}"; do
	# Its headers are of 2013: our warnings are not for them.
	$CXX -std=c++14 -O1 -w -I../.. "$model.cc" -o "$out/$model" &
	jobs+=($!)
	[ $((${#jobs[@]} % 2)) -eq 1 ] || wait "${jobs[@]}"
done
wait
for model in "${models[@]}"; do
	[ -x "$out/$model" ] || { echo "FAIL  $model: does not build"; bad=1; continue; }
	n=0
	while IFS= read -r step; do
		timeout 60 "$out/$model" $n >"$out/log" 2>&1
		rc=$?
		said=$(tail -1 "$out/log")
		want=1
		[ $n -gt 0 ] || want=0
		if [ $rc -eq $want ]; then
			echo "ok    $model, $step: $said"
		else
			echo "FAIL  $model, $step: $said (exit $rc, not $want)"
			[ $want -ne 0 ] || tail -60 "$out/log" | sed 's/^/      /'
			bad=1
		fi
		n=$((n + 1))
	done < <(echo "as it is"; "$out/$model" --list)
done
exit $bad
