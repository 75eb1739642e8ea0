#!/usr/bin/env bash
# exports - the linker's version script: every function the public header declares, and nothing else
#
#   exports.sh include/penstock.h > exports.map
set -euo pipefail
header=${1:?usage: exports.sh HEADER}
names=$(${CC:-cc} -E -P -D_GNU_SOURCE "$header" |
	grep -v '^typedef ' | grep -oE '\bpen_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
[ -n "$names" ] || { echo "exports.sh: $header declares no pen_ function" >&2; exit 1; }
echo 'PENSTOCK_0 {'
echo '	global:'
for name in $names; do echo "		$name;"; done
echo '	local: *;'
echo '};'
