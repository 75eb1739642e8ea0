#!/usr/bin/env bash
# deps - installs the packages that are missing, and says so; silent when all are there
#
#   deps.sh [build|lint|torture|bench|arm64]...      (build when nothing is said)
#
# Asks the local package database only; apt-get, and with it the network, is touched when something is
# missing. Needs root or sudo then, and otherwise prints the command that somebody else has to run.
set -euo pipefail

build=(g++ pkg-config liburing-dev libck-dev liblmdb-dev libjemalloc-dev libsimdjson-dev libxxhash-dev
	libisal-dev libzstd-dev libarchive-dev zlib1g-dev libssl-dev libcriterion-dev lmdb-utils python3 python3-lmdb libseccomp-dev
	libncurses-dev systemtap-sdt-dev jq strace tmux zstd relacy-dev)
lint=(clang clang-tidy clang-format cppcheck)
torture=(xfsprogs e2fsprogs util-linux strace)
bench=(sqlite3 miller parallel redis-server)
arm64=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)

wanted=()
for set in "${@:-build}"; do
	case $set in
	build) wanted+=("${build[@]}") ;;
	lint) wanted+=("${lint[@]}") ;;
	torture) wanted+=("${torture[@]}") ;;
	bench) wanted+=("${bench[@]}") ;;
	arm64) wanted+=("${arm64[@]}") ;;
	*) echo "deps.sh: no package set '$set'; there are build, lint, torture, bench, arm64" >&2; exit 2 ;;
	esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "deps: no apt-get here; assuming that what these Debian packages hold is installed: ${wanted[*]}" >&2
	exit 0
fi

missing=()
have=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
for package in "${wanted[@]}"; do
	grep -qxF "$package installed" <<<"$have" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "deps: these packages are missing, and installing them needs root. Run as root:" >&2
		echo "    apt-get install -y --no-install-recommends ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
echo "deps: installing ${missing[*]} (apt-get, ${as_root[0]:-as root})"
"${as_root[@]}" apt-get -q update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
