#!/usr/bin/env bash
# tidy - every house rule that a script can check; one line a check, then exit status
set -uo pipefail
here=$(dirname "$0")
bad=0
for check in headers arrows pairs banned sizes selfonly states selftest; do
	if "$here/$check.sh"; then
		echo "ok   tidy/$check"
	else
		echo "FAIL tidy/$check"
		bad=1
	fi
done
exit $bad
