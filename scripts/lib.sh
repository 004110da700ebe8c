# shellcheck shell=bash disable=SC2034  # names are for the scripts that source this file
# Shared by the scripts of this folder: paths of the cache, messages, steps with a progress note, locks, root. To be
# sourced; it only defines names.

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
SCRIPTS=$PROJECT/scripts
if [[ -z ${KCGCS_CACHE:-} ]]; then
	KCGCS_CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kcgcs
fi
KCGCS_CACHE=$(realpath -m -- "$KCGCS_CACHE")
# What is built from this checkout (modules, programs, logs) is in the cache too, unless KCGCS_BUILT names another
# folder. With different ones, several checkouts share only the toolchain and the kernels.
KCGCS_BUILT=$(realpath -m -- "${KCGCS_BUILT:-$KCGCS_CACHE}")
export KCGCS_CACHE KCGCS_BUILT

TOOLCHAIN=$KCGCS_CACHE/toolchain
LOGS=$KCGCS_BUILT/logs
KERNELS=$KCGCS_CACHE/kernels
KERNEL_SERIES=7.3

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
	warn "$@"
	exit 1
}

# Run this script again as root, which debootstrap and the mounts of scripts/in-toolchain need.
# Call as: become_root "$@"
become_root() {
	((EUID != 0)) || return 0
	command -v sudo >/dev/null || die "this needs root: run it as root, or install sudo"
	if ! sudo -n true 2>/dev/null && [[ ! -t 0 ]]; then
		die "this needs root, and sudo wants a password but there is no terminal to ask on"
	fi
	local keep=() name
	for name in $(compgen -e); do
		case $name in
		KCGCS_* | http_proxy | https_proxy | no_proxy | TERM | DEMO_PARAMETERS | SEEDS | FIRST_SEED | NODES | VERBOSE)
			keep+=("$name=${!name}") ;;
		esac
	done
	exec sudo -- env "${keep[@]}" "$(realpath -- "$0")" "$@"
}

# Create the cache folder.
make_cache() {
	mkdir -p -- "$KCGCS_CACHE/locks" "$LOGS" "$KCGCS_BUILT/tmp" 2>/dev/null ||
		die "cannot write to the cache folder $KCGCS_CACHE (set KCGCS_CACHE to another one)"
	if [[ ! -e $KCGCS_CACHE/CACHEDIR.TAG ]]; then
		printf 'Signature: 8a477f597d28d172789f06886806bc55\n# Made by KCGCS. "make distclean" removes this folder.\n' \
			>"$KCGCS_CACHE/CACHEDIR.TAG" || die "cannot write to the cache folder $KCGCS_CACHE"
	fi
}

# need_space GIGABYTES: fail if the cache has less free space.
need_space() {
	local needed=$1 free
	free=$(($(df --output=avail -B1M -- "$KCGCS_CACHE" | tail -n 1) / 1024))
	((free >= needed)) ||
		die "$KCGCS_CACHE has $free GB of free space, $needed GB are needed (set KCGCS_CACHE to a folder on another disk)"
}

# lock NAME [FOLDER]: take the lock NAME of FOLDER (default: the cache), or wait for it. It is held until this process
# ends.
lock() {
	local fd folder=${2:-$KCGCS_CACHE}/locks
	mkdir -p -- "$folder"
	exec {fd}>"$folder/$1"
	if ! flock --nonblock "$fd"; then
		say "$1: waiting for another run that holds this lock"
		flock "$fd"
	fi
}

elapsed() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# step TEXT LOG COMMAND...: run the command with its output in LOG, and show one line with a progress note, which the
# function `progress_note LOG` prints. Returns the command's exit code.
step() {
	local text=$1 log=$2 start=$SECONDS pid code=0 now last=0 note
	shift 2
	mkdir -p -- "$(dirname -- "$log")"
	if [[ ! -t 1 ]]; then
		say "$text (log: $log)"
	fi
	: >"$log"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	# shellcheck disable=SC2064  # the present value of pid is meant
	trap "kill $pid 2>/dev/null; wait $pid 2>/dev/null; exit 130" INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		now=$((SECONDS - start))
		if [[ -t 1 ]]; then
			note=$(progress_note "$log")
			printf '\r\033[K%s  %s  %s' "$text" "$(elapsed $now)" "${note:0:60}"
		elif ((now - last >= 60)); then
			last=$now
			say "  $(elapsed $now)  $(progress_note "$log")"
		fi
		sleep 0.5
	done
	wait "$pid" || code=$?
	trap - INT TERM HUP
	now=$((SECONDS - start))
	if [[ -t 1 ]]; then
		printf '\r\033[K%s  %s' "$text" "$(elapsed $now)"
	else
		printf '  %s' "$(elapsed $now)"
	fi
	if ((code == 0)); then
		say "  done"
	else
		say "  FAILED"
	fi
	return "$code"
}

# progress_note LOG: the last line of a log, without control characters. Callers may define another one.
progress_note() { tail -n 1 -- "$1" 2>/dev/null | tr -d '\000-\010\013-\037' | cut -c 1-100; }

# must_step TEXT LOG COMMAND...: as `step`, but end the script if it fails, with a line that names the log and, if it is
# a common one, the reason.
must_step() {
	local text=$1 log=$2 reason=
	step "$@" && return 0
	if grep -qi 'no space left' -- "$log"; then
		reason=" (the disk is full)"
	elif grep -qiE 'could not resolve|temporary failure resolving|(unable|cannot|could not|failed) to? ?(connect|fetch)|connection (timed out|refused)|couldn.t download|failed getting release file' -- "$log"; then
		reason=" (no network, or the package server does not answer)"
	elif grep -qiE 'operation not permitted|permission denied' -- "$log"; then
		reason=" (an operation was not permitted; a container may lack the right to mount)"
	fi
	die "$text: failed$reason; details at the end of $log"
}

# enter_root ROOT BIND... -- COMMAND...: replace this process by COMMAND in ROOT, with the project, the cache, /tmp and
# the BIND folders at their own paths. The mounts are in a namespace of their own, which ends with the command. There is
# no process between the caller and the command, so signals and the exit code pass unchanged.
enter_root() {
	local root=$1 binds=() keep=() name cwd=$PWD path
	shift
	while [[ $1 != -- ]]; do
		binds+=("$1")
		shift
	done
	shift
	case $cwd/ in
	"$PROJECT"/* | "$KCGCS_CACHE"/* | "$KCGCS_BUILT"/* | /tmp/*) ;;
	*)
		path=$PROJECT
		for name in "${binds[@]}"; do
			[[ $cwd/ == "$name"/* ]] && path=$cwd
		done
		cwd=$path
		;;
	esac
	for name in $(compgen -e); do
		case $name in
		KCGCS_* | PROPTEST_* | LOOM_* | RUST_BACKTRACE | RUST_LOG | TERM | http_proxy | https_proxy | no_proxy)
			keep+=("$name=${!name}") ;;
		esac
	done
	# shellcheck disable=SC2016  # expanded by the inner shell
	exec unshare --mount --propagation private -- /bin/bash -euc '
		root=$1 cwd=$2 binds=$3
		shift 3
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount --rbind /sys "$root/sys"
		mount --bind /tmp "$root/tmp"
		for file in /etc/resolv.conf /etc/hosts; do
			[ -s "$file" ] || continue
			[ -e "$root$file" ] || : >"$root$file"
			mount --bind "$file" "$root$file"
		done
		# It is mounted under another name, since the package ca-certificates must be able to replace the file in the
		# root.
		if [ -s /etc/ssl/certs/ca-certificates.crt ]; then
			mkdir -p "$root/etc/ssl"
			[ -e "$root/etc/ssl/host.crt" ] || : >"$root/etc/ssl/host.crt"
			mount --bind /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/host.crt"
			set -- SSL_CERT_FILE=/etc/ssl/host.crt CARGO_HTTP_CAINFO=/etc/ssl/host.crt "$@"
		fi
		while IFS= read -r dir; do
			[ -n "$dir" ] || continue
			[ -d "$root$dir" ] || mkdir -p "$root$dir"
			mount --bind "$dir" "$root$dir"
		done <<<"$binds"
		exec chroot "$root" /usr/bin/env -i --chdir="$cwd" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			HOME=/root LANG=C.UTF-8 setpriv --pdeathsig KILL env "$@"
	' enter-root "$root" "$cwd" "$(printf '%s\n' "$PROJECT" "$KCGCS_CACHE" "$KCGCS_BUILT" "${binds[@]}")" \
		CARGO_HOME="$KCGCS_CACHE/cargo/home" CARGO_TARGET_DIR="$KCGCS_BUILT/cargo/target" "${keep[@]}" "$@"
}
