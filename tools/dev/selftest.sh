#!/usr/bin/env bash
# selftest - each check notices the violation it is there for
#
# In a house with empty rooms, plants one violation at a time and expects the check to fail and to name the
# planted file; then, with something harmless in its place, to pass.
set -euo pipefail
cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy"/{include,ring,store,engine,tools,docs/decisions}
printf '| label | store side | load side | promise | what breaks |\n' >"$copy/docs/CONCURRENCY.md"
bad=0

# plant CHECK FILE TEXT HARMLESS
plant() {
	local check=$1 file=$2 text=$3 harmless=$4 said rc=0
	printf '%b\n' "$text" >"$copy/$file"
	said=$("tools/dev/$check.sh" "$copy" 2>&1) || rc=$?
	if [ $rc -eq 0 ] || ! grep -qF "$file" <<<"$said"; then
		echo "selftest: $check does not notice: ${text:0:80}" >&2
		bad=1
	fi
	printf '%b\n' "$harmless" >"$copy/$file"
	if ! said=$("tools/dev/$check.sh" "$copy" 2>&1); then
		echo "selftest: $check complains about: $harmless: $said" >&2
		bad=1
	fi
	rm "$copy/$file"
}

plant arrows ring/planted.h '#include "store/txn.h"' '#include "ring/base.h"'
plant arrows store/planted.c '#include "engine/engine.h"' '#include "ring/base.h"'
plant arrows tools/planted.c '#include "ring/lane.h"' '#include "include/penstock.h"'
plant arrows ring/planted.c '#include "../store/txn.h"' '#include <stdint.h>'
plant arrows engine/planted.c '#include <lmdb.h>' '#include "store/txn.h"'
plant arrows engine/planted.c '#include <liburing.h>' '#include "ring/io.h"'
plant arrows engine/planted.cc '#include <simdjson.h>' '#include <string>'
plant arrows engine/planted.c '#include <zstd.h>' '#include "engine/unpack.h"'
plant arrows store/planted.c '#include <ck_ec.h>' '#include "ring/park.h"'
plant pairs ring/planted.c '/* PAIR(planted.alone): one side only */' '/* no pair */'
plant pairs ring/planted.c 'x = atomic_load_explicit(&w, memory_order_acquire);' 'x = atomic_load_explicit(&w, memory_order_relaxed);'
plant banned ring/planted.c 'void f(char *a) { strcpy(a, "x"); }' '/* strcpy( */ const char *s = "sprintf(";'
plant banned engine/planted.c 'static volatile int x;' 'static int x; /* volatile */'
plant banned store/planted.c 'void f(void) { printf("x"); }' 'void f(char *a) { snprintf(a, 1, "x"); }'
plant banned engine/planted.c '/* FIXME */' '/* fixed */'
plant banned ring/planted.c 'int f(void) { return atomic_load(&x); }' 'int f(void) { return atomic_load_explicit(&x, memory_order_relaxed); }'
plant sizes ring/planted.c "$(printf '/* %s */\\n' $(seq 701))" '/* short */'
plant sizes ring/planted.c "/* $(printf 'x%.0s' $(seq 120)) */" '/* short */'
plant selfonly docs/planted.md "see /wo""rk/main" 'see docs/'
plant selfonly ring/planted.c '/* RINGS.md says so */' '/* the header says so */'
plant states docs/STATES.md '    queued --> running: pen_planted (start)' 'No function.'
plant states docs/STATES.md '| to | function |\n|---|---|\n| failed | `planted` |' '| to | function |\n|---|---|'
plant states docs/STATES.md 'It is `pen_planted`, engine/planted.c.' 'It is `planted`.'
plant headers ring/planted.h 'struct planted { uint32_t x; };' '#include <stdint.h>\nstruct planted { uint32_t x; };'

# A row of the table that no source carries.
printf '| `planted.row` | a | b | c | d |\n' >>"$copy/docs/CONCURRENCY.md"
if said=$(tools/dev/pairs.sh "$copy" 2>&1) || ! grep -qF planted.row <<<"$said"; then
	echo "selftest: pairs does not notice a row without sources" >&2
	bad=1
fi
exit $bad
