#!/usr/bin/env bash
# headers - each header compiles alone, and the public ones as C++ too
#
#   headers.sh [DIR]
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"
bad=0
for header in $({ find include ring store engine tools bench -name '*.h' 2>/dev/null || true; } | sort); do
	${CC:-cc} -std=c17 -D_GNU_SOURCE -I. -Wall -Wextra -Wundef -Wstrict-prototypes -Werror -fsyntax-only \
		-xc - <<<"#include \"$header\"" || { echo "$header: does not compile alone (C17)" >&2; bad=1; }
	[[ $header == include/* ]] || continue
	${CXX:-g++} -std=c++17 -Wall -Wextra -Werror -fsyntax-only -xc++ - <<<"#include \"$PWD/$header\"" ||
		{ echo "$header: does not compile as C++17" >&2; bad=1; }
done
exit $bad
