#!/usr/bin/env bash
# states - every function that docs/STATES.md names exists, where a file is given in that file
#
#   states.sh [DIR]
#
# Functions are what stands behind an arrow's colon, what a table has below "function" in `ticks`, and every `pen_…` in
# ticks. `name` … (room/file.c) in one cell, or `name`, room/file.c: it is defined there.
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"
doc=docs/STATES.md
[ -f "$doc" ] || exit 0
bad=0

# defined NAME [FILE]: its definition begins a line.
defined() {
	grep -qE "^[a-z][a-zA-Z0-9_ *]*\b$1\(" "${2:-/dev/null}" 2>/dev/null && return
	[ $# -eq 1 ] && grep -rqE --include='*.[ch]' "^[a-z][a-zA-Z0-9_ *]*\b$1\(" include ring store engine
}

# FILE NAME, or - NAME.
named() {
	sed -nE 's/^ *[][*a-z]+ --> [][*a-z]+: //p' "$doc" | grep -oE '[a-z_]+' | sed 's/^/- /' || true
	grep -oE '`pen_[a-z_]+`' "$doc" | tr -d '`' | grep -vE '^pen_(state|item_state)$' | sed 's/^/- /' || true
	grep -oE '`[a-z_]+`(,| in)? \(?(engine|store)/[a-z_]+\.c' "$doc" | sed -E 's/`([a-z_]+)`(,| in)? \(?(.*)/\3 \1/' || true
	awk -F'|' '
	!/^\|/ { column = 0; next }
	!column { for (i = 1; i <= NF; i++) if ($i ~ /function/) column = i; if (!column) column = NF + 1; next }
	{ n = split($column, part, "`"); for (i = 2; i <= n; i += 2) if (part[i] ~ /^[a-z_]+$/) print "-", part[i] }' "$doc"
}

while read -r file name; do
	if [ "$file" = - ]; then
		defined "$name" || { echo "$doc: there is no function $name" >&2; bad=1; }
	else
		defined "$name" "$file" || { echo "$doc: $file has no function $name" >&2; bad=1; }
	fi
done < <(named | sort -u)
exit $bad
