#!/usr/bin/env bash
# lint - clang-format, clang-tidy and cppcheck; a line a tool
#
#   lint.sh           report
#   lint.sh --fix     let clang-format rewrite the sources, nothing else
set -uo pipefail
cd "$(dirname "$0")/../.."

list() { { find "$@" -name '*.[ch]' -o -name '*.cc'; } 2>/dev/null | sort; }
# The list of error codes is a table, a row a line.
all=$(list include ring store engine tools bench tests docs/examples | grep -vx include/penstock_error.h)
rooms=$(list ring store engine tools | grep -E '\.cc?$')
bad=0
verdict() {
	if [ "$2" -eq 0 ]; then echo "ok   lint/$1"; else echo "FAIL lint/$1"; bad=1; fi
}

if [ "${1:-}" = --fix ]; then
	xargs -r clang-format -i <<<"$all"
	exit
fi

xargs -r clang-format --dry-run -Werror --ferror-limit=3 <<<"$all"
verdict clang-format $?

flags='-D_GNU_SOURCE -I. -Wall -Wextra -Wshadow'
printf '%s\n' $rooms | xargs -r -P "$(nproc)" -n 1 sh -c '
	case $2 in *.cc) std=-std=c++17 ;; *) std=-std=c17 ;; esac
	clang-tidy --quiet "$2" -- $std $1 2>/dev/null' sh "$flags"
verdict clang-tidy $?

# inline suppressions carry their reason beside them
cppcheck --quiet --std=c11 --language=c --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	--suppress=missingIncludeSystem --suppress=internalAstError --suppress=syntaxError --suppress=unknownMacro \
	-j "$(nproc)" -I. -D_GNU_SOURCE -D__x86_64__ -D__BYTE_ORDER__=1234 -D__ORDER_LITTLE_ENDIAN__=1234 \
	$(grep '\.c$' <<<"$rooms")
verdict cppcheck $?
exit $bad
