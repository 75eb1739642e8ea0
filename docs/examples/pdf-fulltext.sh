#!/bin/sh
# pdf-fulltext - the text of every PDF below a folder, in a dataset keyed by its path
#
#   docs/examples/pdf-fulltext.sh FOLDER [OPTION of `penstock run`...]
#
# Needs pdftotext (Debian: poppler-utils). Ten PDFs a minute (another --rate behind the folder wins; --rate none: as fast as
# can be), each with a process of its own; one that fails is tried again after 2, 4 and 8 seconds, and is a dead letter then:
# the others go on. Killed at any time, the same command goes on where it was.
#
#   penstock get fulltext reports/2024.pdf              the text of one
#   penstock items @last --group-by error               what went wrong, how often, with an example
#   penstock retry @last && penstock work               once more, when the cause is gone
set -eu
if [ $# -lt 1 ] || [ ! -d "$1" ]; then
	echo "usage: pdf-fulltext.sh FOLDER [OPTION...]" >&2
	exit 2
fi
if ! command -v pdftotext >/dev/null; then
	echo "pdf-fulltext.sh: there is no pdftotext; on Debian: apt-get install poppler-utils" >&2
	exit 3
fi
folder=$1
shift
# What is given behind the folder comes last, and so wins.
exec "${PENSTOCK:-penstock}" run "$folder" --format files --include '**.pdf' --include '**.PDF' --compression none --key @path --into fulltext \
	--processor 'exec:pdftotext -enc UTF-8 {} -' --timeout 2m --max-retries 3 --backoff 2s,4s,8s --rate 10/min "$@"
