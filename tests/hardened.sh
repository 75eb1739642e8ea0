#!/bin/sh
# hardened - the release programs are built as they should be for hostile input
#
#   hardened.sh FILE...        (position-independent, read-only relocations, no executable stack, canaries, no RPATH)
bad=0
complain() { echo "$1" >&2; bad=1; }
for file in "$@"; do
	segments=$(readelf -lW "$file")
	dynamic=$(readelf -dW "$file")
	readelf -hW "$file" | grep -q 'Type: *DYN' || complain "$file: not position-independent"
	echo "$segments" | grep -q GNU_RELRO || complain "$file: relocations stay writable"
	echo "$dynamic" | grep -q BIND_NOW || complain "$file: symbols are bound late"
	echo "$segments" | grep 'GNU_STACK' | grep -q 'RWE' && complain "$file: executable stack"
	echo "$segments" | grep 'LOAD' | grep -q 'RWE' && complain "$file: a segment is writable and executable"
	echo "$dynamic" | grep -qE 'RPATH|RUNPATH' && complain "$file: has an RPATH"
	readelf -sW --dyn-syms "$file" | grep -q __stack_chk_fail || complain "$file: no stack canaries"
done
exit $bad
