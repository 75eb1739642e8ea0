#!/usr/bin/env bash
# selfonly - the project speaks of itself: no path of one machine, no word about how it came to be
#
#   selfonly.sh [DIR]
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"

patterns=(
	'/work/|/home/[a-z]|/root/|/tmp/brief'
	'\b(DESIGN|RINGS|RELIABILITY|LIMITS|FEATURES|ECOSYSTEM|BULK|STYLE-EXAMPLES|CLI)\.md\b'
	'\b(DESIGN|RINGS|RELIABILITY|LIMITS|FEATURES|ECOSYSTEM|BULK|STYLE|CLI) ?§'
	'\b(the|this|my|your) (brief|prompt)\b'
	'\b(sub-?agent|language model|claude|chatgpt|copilot|as an ai)\b'
	'\b(in|of|from) (this|the) (session|task)\b'
	'\b(issues? (show )?#?[0-9]+)\b'
)
joined=$(IFS='|'; echo "${patterns[*]}")
# This check and its control have to name what they forbid.
if find . \( -path ./.git -o -path ./build -o -path '*/corpus/*' \) -prune -o -type f -print |
	grep -vE '^\./tools/dev/(selfonly|selftest)\.sh$|\.(png|gz|zst|o|so|a|pyc)$' | sort |
	xargs -r -d '\n' grep -nIHE -i "$joined" >&2; then
	echo "selfonly: the lines above speak of a machine or of the making; say what the project needs said" >&2
	exit 1
fi
