#!/usr/bin/env bash
# fuzz - runs each libFuzzer target for PEN_SECS; new inputs stay in the build directory
#
#   fuzz.sh BUILD TARGET...
#
# A crash leaves its input in BUILD/fuzz-found/: mend the parser, then add the input to tests/fuzz/corpus/.
set -uo pipefail
build=$1
shift
found=$build/fuzz-found
mkdir -p "$found"
[ $# -gt 0 ] || echo "tests/fuzz: no targets"
bad=0
for target in "$@"; do
	name=$(basename "$target")
	mkdir -p "$build/fuzz-corpus/$name"
	seeds=()
	for dir in "tests/fuzz/corpus/$name" "tests/fuzz/corpus/${name#fuzz_}"; do
		[ -d "$dir" ] && seeds+=("$dir")
	done
	dictionary=tests/fuzz/${name#fuzz_}.dict
	echo "== $name, ${PEN_SECS:-2} s"
	log=$build/fuzz-corpus/$name.log
	if "$target" -max_total_time="${PEN_SECS:-2}" -timeout=5 -rss_limit_mb=1024 -max_len=65536 \
		$([ -f "$dictionary" ] && echo "-dict=$dictionary") -artifact_prefix="$found/$name-" \
		"$build/fuzz-corpus/$name" "${seeds[@]}" >"$log" 2>&1; then
		tail -n 1 "$log"
	else
		tail -n 60 "$log"
		echo "FAIL $name: the input is in $found"
		bad=1
	fi
done
exit $bad
