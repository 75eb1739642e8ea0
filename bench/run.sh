#!/usr/bin/env bash
# run - every measurement of `make bench`: one JSON line a result on stdout, a table for people on stderr
#
#   bench/run.sh [--smoke] [--only NAME]...
#
# Each line gets what is needed to make it again: machine, cores, kernel, commit, date, command. NAME is lane, log, cast, crew, small, flag, limit,
# publish, json, split, csv, decode, io, readers, or a series of ingest.py (seq_vs_naive, seq_vs_bare, uring_vs_threads, random_vs_naive, resume,
# foreign_seq, foreign_random, memory_1x, memory_8x, memory_record, memory_random), of formats.py (csv_vs_ndjson, csv_raw,
# json_vs_ndjson, lines, gzip, zstd, tree_tar, cores, memory_formats) or of rivals.py (rival_duckdb, rival_duckdb_ndjson,
# rival_sqlite, rival_miller, rival_python). --smoke asks whether everything runs, with the smallest inputs. Nothing here
# is a test: no figure makes it fail.
#
# Environment: B (build directory), PENSTOCK, PEN_BENCH_DIR (where the data goes; on a disk; default: B), and the
# settings of ingest.py: PEN_BENCH_MIB (1024), PEN_BENCH_REPS, PEN_BENCH_RECORDS, PEN_BENCH_8GIB.
set -euo pipefail
cd "$(dirname "$0")/.."
export B=${B:-build/release}
export PENSTOCK=${PENSTOCK:-$B/penstock}

smoke=${PEN_SMOKE:+--smoke}
only=()
while [ $# -gt 0 ]; do
	case $1 in
	--smoke) smoke=--smoke ;;
	--only) only+=("${2:?--only NAME}"); shift ;;
	*) echo "run.sh: what is '$1'? usage: run.sh [--smoke] [--only NAME]..." >&2; exit 2 ;;
	esac
	shift
done
wanted() { [ ${#only[@]} -eq 0 ] || [[ " ${only[*]} " == *" $1 "* ]]; }

base=${PEN_BENCH_DIR:-$B}
mkdir -p "$base"
dir=$(mktemp -d "$base/bench-data.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

machine=$(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -1)
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD 2>/dev/null || commit+=+

# Adds what is the same for all lines, and shows each on stderr as it comes. $1: the command, where a line has none.
stamp() {
	jq -c --unbuffered --arg machine "${machine:-$(uname -m)}" --arg kernel "$(uname -r)" --arg commit "$commit" \
		--arg date "$(date -u +%F)" --arg command "$1" --argjson cores "$(nproc)" '
		. + {command: (.command // $command), machine: $machine, cores: $cores, kernel: $kernel,
			commit: $commit, date: $date}' |
		while IFS= read -r line; do
			printf '%s\n' "$line"
			jq -r '. as $all | "\(.bench | . + " " * ([22 - length, 0] | max))  " + ([to_entries[] |
				select(.key | IN("bench", "all", "does", "command", "machine", "cores", "kernel", "commit", "date") | not) |
				"\(.key) \(.value)"] | join("  "))' <<<"$line" >&2
		done
}

printf '%s, %s cores, Linux %s, commit %s\n' "${machine:-$(uname -m)}" "$(nproc)" "$(uname -r)" "$commit" >&2
if wanted lane; then
	words=20000000
	[ -z "$smoke" ] || words=10000
	"$B/bench/bench_lane" $words | stamp "bench_lane $words"
fi
if wanted log; then
	bursts=200
	[ -z "$smoke" ] || bursts=2
	"$B/bench/bench_log" "$dir/logs" $bursts | stamp "bench_log DIR $bursts"
	rm -rf "${dir:?}"/*
fi
if wanted cast; then
	batches=200000
	[ -z "$smoke" ] || batches=200
	"$B/bench/bench_cast" $batches | stamp "bench_cast $batches"
fi
if wanted publish; then
	mib=512 runs=7
	[ -z "$smoke" ] || { mib=16; runs=1; }
	"$B/bench/bench_gen" "$dir/in.ndjson" $mib 1 2>/dev/null
	"$B/bench/bench_publish" "$PENSTOCK" "$dir/in.ndjson" "$dir/store" $runs | stamp "bench_publish PENSTOCK FILE STORE $runs; FILE: $mib MiB"
	rm -rf "${dir:?}"/*
fi
if wanted crew; then
	items=5000
	[ -z "$smoke" ] || items=20
	bench/crew.sh "$items" | stamp "bench/crew.sh $items"
fi
if wanted small; then
	rounds=500
	[ -z "$smoke" ] || rounds=3
	"$B/bench/bench_small" "$dir/store" "$rounds" | stamp "bench_small STORE $rounds"
	rm -rf "${dir:?}"/*
fi
if wanted flag; then
	rounds=10000000 switches=60
	[ -z "$smoke" ] || { rounds=10000; switches=2; }
	"$B/bench/bench_flag" eval "$dir/store" $rounds | stamp "bench_flag eval STORE $rounds"
	rm -rf "${dir:?}"/*
	"$B/bench/bench_flag" switch "$dir/store" "$PENSTOCK" $switches | stamp "bench_flag switch STORE PENSTOCK $switches"
	rm -rf "${dir:?}"/*
fi
if wanted limit; then
	checks=1000000 identities=1000000
	[ -z "$smoke" ] || { checks=1000; identities=1000; }
	"$B/bench/bench_limit" "$dir/store" "$checks" "$identities" | stamp "bench_limit STORE $checks $identities"
	rm -rf "${dir:?}"/*
fi
if wanted json; then
	mib=64
	[ -z "$smoke" ] || mib=1
	"$B/bench/bench_json" $mib | stamp "bench_json $mib"
fi
if wanted split; then
	mib=64
	[ -z "$smoke" ] || mib=1
	"$B/bench/bench_split" $mib | stamp "bench_split $mib"
fi
if wanted csv; then
	mib=4
	[ -z "$smoke" ] || mib=1
	"$B/bench/bench_csv" $mib | stamp "bench_csv $mib"
fi
if wanted io; then
	files=20000 mib=512
	[ -z "$smoke" ] || { files=200; mib=4; }
	"$B/bench/bench_io" "$dir" $files $mib | stamp "bench_io DIR $files $mib"
fi
if wanted decode; then
	mib=128
	[ -z "$smoke" ] || mib=4
	"$B/bench/bench_decode" "$dir" $mib | stamp "bench_decode DIR $mib"
fi
if wanted readers; then
	/usr/bin/python3 bench/readers.py $smoke | stamp "bench/readers.py"
fi
series=()
for name in ${only[@]+"${only[@]}"}; do
	case $name in lane | log | cast | publish | crew | small | flag | limit | json | split | csv | decode | io | readers) ;; *) series+=(--only "$name") ;; esac
done
if [ ${#only[@]} -eq 0 ] || [ ${#series[@]} -gt 0 ]; then
	export PYTHONDONTWRITEBYTECODE=1
	for part in ingest formats rivals jobs; do
		/usr/bin/python3 "bench/$part.py" "$dir" $smoke ${series[@]+"${series[@]}"} | stamp ""
		rm -rf "${dir:?}"/*
	done
fi
