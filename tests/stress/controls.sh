#!/bin/sh
# SPDX-License-Identifier: MIT
#
# controls - do the race programs notice a broken ordering?
#
# Builds each program once as it is (it must pass) and once per planted bug (it must fail), runs them, and fails if one
# of them does otherwise. Needs gcc with the race checker; about half a minute. Usage: tests/stress/controls.sh
#
# What no run on x86-64 can notice: an order that the CPU gives anyway and that the race checker does not need to
# rule out a race. docs/CONCURRENCY.md says for each label what its control is.
set -u
cd "$(dirname "$0")/../.." || exit 1
CC=${CC:-gcc}
out=$(mktemp -d "${TMPDIR:-/tmp}/pen-controls.XXXXXX") || exit 1
trap 'rm -rf "$out"' EXIT INT TERM

flags='-std=c17 -D_GNU_SOURCE -I. -g -O1 -DPEN_DEBUG -pthread'
sources='ring/lane.c ring/fanin.c ring/gauge.c ring/post.c ring/assert.c'
bad=0

if ! echo 'int main(void){return 0;}' | $CC -fsanitize=thread -xc - -o "$out/probe" 2>"$out/log" || ! "$out/probe"; then
	echo "controls: skipped, no race checker here"
	exit 77
fi

# build NAME PROGRAM PLANT: the event count without the race checker, as in the real build; the bell, because the
# checker's own work between two words would order them
build()
{
	plant=${3:+-DPEN_PLANT_$3}
	$CC $flags $plant -c ring/park.c -o "$out/$1.park.o" &&
	$CC $flags $plant -c ring/bell.c -o "$out/$1.bell.o" &&
	case $2 in
	decode) more='ring/error.c engine/decode.c engine/belt.c engine/inflow.c engine/recode.c engine/unpack.c -lisal -lzstd' ;;
	cast) more='ring/cast.c ring/cast_open.c ring/clock.c ring/error.c' ;;
	log) more='ring/log.c ring/log_level.c ring/clock.c ring/error.c' ;;
	bell) more="$out/$1.bell.o" ;;
	*) more='' ;;
	esac
	$CC $flags $plant -fsanitize=thread tests/stress/$2.c $sources "$out/$1.park.o" $more -o "$out/$1" -lck
}

# run NAME PROGRAM PLANT WANT: WANT is pass, race (the race checker's report) or check (the program's own)
run()
{
	# A planted bug shows when threads meet in the wrong moment: it gets a few tries. What must pass gets one.
	for try in 1 2 3 4 5; do
		PEN_SECS=${PEN_SECS:-1} TSAN_OPTIONS="halt_on_error=1 exitcode=66 report_thread_leaks=0" \
			timeout 20 "$out/$1" >"$out/$1.log" 2>&1
		case $? in
		0) got=pass ;;
		66) got=race ;;
		1) got=check ;;
		124) got=hang ;;
		*) got=other ;;
		esac
		if [ $got != pass ] || [ "$4" = pass ]; then
			break
		fi
	done
	if [ $got = "$4" ]; then
		echo "ok    $2 ${3:-as it is}: $got"
	else
		echo "FAIL  $2 ${3:-as it is}: $got, not $4"
		sed 's/^/      /' "$out/$1.log" | head -40
		bad=1
	fi
}

# PROGRAM PLANT WANT, one row a line; a row without plant is the program as it is
rows='lane - pass
lane LANE_PUBLISH race
lane LANE_SEE race
lane LANE_RECYCLE race
lane LANE_CLOSE race
fanin - pass
fanin LANE_PUBLISH race
fanin FANIN_CLOSE check
park - pass
park PARK_TICKET check
park PARK_WAKE check
decode - pass
decode LANE_PUBLISH race
decode BELT_RING check
bell - pass
bell BELL_ORDER check
bell BELL_LOOK check
post - pass
post POST_LEFT race
post POST_FREE race
log - pass
log LOG_PUBLISH race
log LOG_RECYCLE race
gauge - pass
gauge GAUGE_FLIP check
gauge GAUGE_RECHECK check
gauge GAUGE_ORDER race
cast - pass
cast CAST_CLAIM check
cast CAST_TAIL check
cast CAST_FLIP check
cast CAST_ORDER race
cast CAST_OWED check'

n=0
jobs=''
while read -r program plant want; do
	[ "$plant" = - ] && plant=''
	n=$((n + 1))
	build "$n" "$program" "$plant" &
	jobs="$jobs $!"
	[ $((n % 4)) -eq 0 ] && { for j in $jobs; do wait "$j" || bad=1; done; jobs=''; }
done <<END
$rows
END
for j in $jobs; do wait "$j" || bad=1; done

n=0
while read -r program plant want; do
	[ "$plant" = - ] && plant=''
	n=$((n + 1))
	run "$n" "$program" "$plant" "$want" </dev/null
done <<END
$rows
END
exit $bad
