#!/usr/bin/env bash
# demo - what penstock does, on input that every Debian machine has
#
#   demo.sh PENSTOCK DIR        (make demo; DIR is emptied first)
#
# The package records of this machine become NDJSON and go into one dataset, its documentation tree into
# another; then status, and two records read back.
set -euo pipefail
penstock=$1
dir=$2
rm -rf "$dir"
mkdir -p "$dir"
store=$dir/store

show() {
	printf '\n$ %s\n' "${*/#$penstock/penstock}"
	"$@"
}

/usr/bin/python3 - >"$dir/packages.ndjson" <<'PY'
import json
fields, last = {}, None
with open("/var/lib/dpkg/status", encoding="utf-8", errors="replace") as status:
    for line in [*status, "\n"]:
        line = line.rstrip("\n")
        if not line:
            if fields:
                print(json.dumps(fields, ensure_ascii=False))
            fields, last = {}, None
        elif line[0] in " \t":
            fields[last] += "\n" + line.strip()
        else:
            last, _, text = line.partition(":")
            fields[last] = text.strip()
PY
echo "$(wc -l <"$dir/packages.ndjson") package records of this machine, $(wc -c <"$dir/packages.ndjson") bytes of NDJSON"

show "$penstock" --store "$store" run "$dir/packages.ndjson" --into packages --key /Package
show "$penstock" --store "$store" run /usr/share/doc --format files --key @path --into docs
show "$penstock" --store "$store" status
show "$penstock" --store "$store" datasets
show "$penstock" --store "$store" get packages base-files
echo
copyright=$(cd /usr/share/doc && find . -type f -name copyright | sort | head -n 1)
show "$penstock" --store "$store" get docs "${copyright#./}" | sed -n '1,8p'
printf '\nThe same command again finds the batch complete and does nothing:\n'
show "$penstock" --store "$store" run "$dir/packages.ndjson" --into packages --key /Package
printf '\nThe store is an LMDB environment that any LMDB client opens: %s\n' "$store"
