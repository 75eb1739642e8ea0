#!/usr/bin/env bash
# sizes - a file is one noun: above 700 lines it has a reason in docs/decisions/, and no line is wider than 120
#
#   sizes.sh [DIR]
#
# clang-format breaks code at 110; this limit is for what it leaves alone, comments and tables. A line that
# holds a string literal may be longer: messages stay in one piece, so that they can be searched for.
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"
lines_max=700
columns_max=120
bad=0
complain() { printf '%s\n' "$1" >&2; bad=1; }

sources=$({ find include ring store engine tools bench tests docs/examples Makefile \
	\( -name '*.[ch]' -o -name '*.cc' -o -name '*.sh' -o -name '*.py' -o -name Makefile \) 2>/dev/null || true; } | sort)
for file in $sources; do
	lines=$(wc -l <"$file")
	[ "$lines" -gt "$lines_max" ] || continue
	grep -rqF "$file" docs/decisions/ 2>/dev/null ||
		complain "$file: $lines lines (at most $lines_max): split it, or give the reason in docs/decisions/"
done
{ grep -E '\.(c|h|cc)$' <<<"$sources" || true; } | xargs -r awk -v max=$columns_max '
{
	width = 0
	n = split($0, part, "\t")
	for (i = 1; i <= n; i++) {
		width += length(part[i])
		if (i < n)
			width += 8 - width % 8
	}
	if (width > max && !/"/) {
		print FILENAME ":" FNR ": " width " columns (at most " max ")"
		bad = 1
	}
}
END { exit bad }' >&2 || bad=1
exit $bad
