#!/usr/bin/env bash
# arrows - includes point down, from the root, and each library has one door
#
#   arrows.sh [DIR]
#
#   tools -> include/          engine -> store -> ring -> include/          bench, tests: anything
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"

declare -A may=(
	[include]='^penstock[a-z_]*\.h$'
	[ring]='^(include|ring)/'
	[store]='^(include|ring|store)/'
	[engine]='^(include|ring|store|engine)/'
	[tools]='^(include|tools)/'
	[bench]='^(include|ring|store|engine|bench)/'
	[tests]='^(include|ring|store|engine|bench|tests|tools)/'
	[docs]='^penstock[a-z_]*\.h$'
)
# A library's headers, and the files that may name them. bench/ and tests/ measure and check with anything.
doors=(
	'liburing(/|\.h)|linux/io_uring\.h=^(ring|bench|tests)/'
	'ck_[a-z_]+\.h=^(ring|bench|tests)/'
	'xxh[a-z0-9_]*\.h=^(ring|bench|tests)/'
	'lmdb\.h=^(store|bench|tests)/'
	'simdjson(/|\.h)=^(engine/simdjson\.cc$|bench/|tests/)'
	'archive(_entry)?\.h=^(engine/archive\.c$|bench/|tests/)'
	'isa-l(/|\.h)|zstd[a-z_]*\.h|zlib\.h=^(engine/unpack\.c$|bench/|tests/)'
	'jemalloc/=^(tools|bench|tests)/'
	'(n?curses|term|panel|menu|form)[a-z_]*\.h=^tools/view\.c$'
	'criterion/=^tests/'
	'openssl/=^ring/sha256\.c$'
	'dlfcn\.h=^(engine/plugin\.c$|bench/|tests/)'
	'seccomp\.h=^(tools|tests)/'
)

bad=0
complain() { printf '%s\n' "$1" >&2; bad=1; }

while IFS=: read -r file line text; do
	room=${file%%/*}
	name=${text#*[<\"]}
	name=${name%%[>\"]*}
	if [[ $text == *'"'* ]]; then
		[[ $name == *..* ]] && complain "$file:$line: \"$name\": includes are written from the root, without .."
		[[ $name =~ ${may[$room]} ]] ||
			complain "$file:$line: $room may not include \"$name\": arrows point down (tools > engine > store > ring)"
	fi
	for door in "${doors[@]}"; do
		[[ $name =~ ^(${door%%=*}) ]] || continue
		[[ $file =~ ${door#*=} ]] || complain "$file:$line: <$name> has its door elsewhere: ${door#*=}"
	done
done < <(find include ring store engine tools bench tests docs/examples -name '*.[ch]' -o -name '*.cc' 2>/dev/null |
	sort | xargs -r grep -nHE '^[ 	]*#[ 	]*include[ 	]*[<"]')
exit $bad
