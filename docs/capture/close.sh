#!/usr/bin/env bash
# What the ways to close look like on the wire: runs the program in this folder under
# tcpdump on the loopback interface, and asks ss what the kernel still holds of the
# server's end. As root. docs/closing.md has its output. The argument is the first of
# four ports; without one it is 8000.
set -euo pipefail
cd "$(dirname "$0")"
port=${1:-8000}
work=$(mktemp -d)
tcpdump=
trap '[ -z "$tcpdump" ] || kill "$tcpdump" 2>/dev/null; rm -rf "$work"' EXIT
go build -o "$work/capture" .

fail() { # MESSAGE FILE
	printf '%s: %s\n' "$0" "$1" >&2
	cat "$2" >&2
	exit 1
}

# await waits until FILE has a line like PATTERN, as long as tcpdump runs, but at most ten
# seconds.
await() { # PATTERN FILE
	for _ in {1..200}; do
		! grep -qs "$1" "$2" || return 0
		kill -0 "$tcpdump" 2>/dev/null || return 1
		sleep 0.05
	done
	return 1
}

capture() { # FLAG...
	# Files of its own: in those of the one before tcpdump listens already.
	local packets=$work/packets-$port log=$work/log-$port
	printf '\n$ capture'
	printf ' %q' "$@"
	printf '\n'
	tcpdump -i lo -nn -ttt --immediate-mode -l "tcp port $port" >"$packets" 2>"$log" &
	tcpdump=$!
	await 'listening on' "$log" || fail 'tcpdump does not listen' "$log"
	"$work/capture" -address "127.0.0.1:$port" "$@" >"$work/seen"
	# A connect that is refused (seq 0) is the last that tcpdump gets to see: with it all
	# that was before has come.
	! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || fail 'somebody else listens' "$log"
	await 'Flags \[R\.\], seq 0, ' "$packets" || fail 'tcpdump does not see all' "$log"
	kill "$tcpdump"
	wait "$tcpdump" || true
	tcpdump=
	grep -q 'Flags \[[FR]\.\], seq [1-9]' "$packets" || fail 'tcpdump has not seen the close' "$packets"
	# The options of TCP do not matter here.
	sed -E 's/, options \[[^]]*\]//; s/^ *00:00:0//; /^$/d' "$packets" | head -n -2
	cat "$work/seen"
	printf 'ss: %s\n' "$(ss -Htan "sport = :$port" | awk '{print $1}' | grep . || echo none)"
	# For the next one, the table is to be empty: TIME-WAIT is of a minute.
	port=$((port + 1))
}

capture -linger default
capture -linger reset
capture -linger default -request $'go\nmore\n'
capture -linger lingering -request $'go\nmore\n'
