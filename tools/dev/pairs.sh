#!/usr/bin/env bash
# pairs - every ordering has a label on both sides and a row in docs/CONCURRENCY.md
#
#   pairs.sh [DIR]
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"
table=docs/CONCURRENCY.md
bad=0
complain() { printf '%s\n' "$1" >&2; bad=1; }

sources=$({ find include ring store engine tools -name '*.[ch]' -o -name '*.cc' 2>/dev/null || true; } | sort)
uses=$(grep -hoE 'PAIR\([a-z0-9_]+\.[a-z0-9_]+\)' $sources /dev/null | sed 's/^PAIR(//; s/)$//' | sort | uniq -c || true)
rows=$({ grep -hoE '^\| *`?[a-z0-9_]+\.[a-z0-9_]+`? *\|' "$table" 2>/dev/null || true; } | tr -d '|` ' | sort -u)

while read -r count label; do
	[ -n "$label" ] || continue
	[ "$count" -ge 2 ] ||
		complain "$(grep -nF "PAIR($label)" $sources /dev/null | head -1 | cut -d: -f1,2): PAIR($label) has no partner: put the label on the other side too"
	grep -qxF "$label" <<<"$rows" || complain "$table: no row for PAIR($label)"
done <<<"$uses"
for label in $rows; do
	grep -q " $label\$" <<<"$uses" || complain "$table: row $label, but no PAIR($label) in the sources"
done

# An order stronger than relaxed says what it promises, in the comment above it.
awk '
FNR == 1 { seen = -100 }
/PAIR\(/ { seen = FNR }
/memory_order_(acquire|release|acq_rel|seq_cst)/ && !/^[ \t]*(\/?\*|\/\/|#)/ && FNR - seen > 16 {
	print FILENAME ":" FNR ": an acquire or release without PAIR(noun.event) above it"; bad = 1
}
END { exit bad }' $sources /dev/null >&2 || bad=1
exit $bad
