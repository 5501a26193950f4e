#!/usr/bin/env bash
# The close modes as packets: this runs the program in this folder under tcpdump on the
# loopback interface, and then shows with ss the state of the server's socket. It needs
# root. docs/closing.md shows the output. The argument is the first of four ports; the
# default is 8000.
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

# await waits until FILE has a line that matches PATTERN, while tcpdump runs, and for ten
# seconds at most.
await() { # PATTERN FILE
	for _ in {1..200}; do
		! grep -qs "$1" "$2" || return 0
		kill -0 "$tcpdump" 2>/dev/null || return 1
		sleep 0.05
	done
	return 1
}

capture() { # FLAG...
	# Each capture has its own files: the log of the one before says "listening" already.
	local packets=$work/packets-$port log=$work/log-$port
	printf '\n$ capture'
	printf ' %q' "$@"
	printf '\n'
	tcpdump -i lo -nn -ttt --immediate-mode -l "tcp port $port" >"$packets" 2>"$log" &
	tcpdump=$!
	await 'listening on' "$log" || fail 'tcpdump did not start' "$log"
	"$work/capture" -address "127.0.0.1:$port" "$@" >"$work/seen"
	# A refused connect (seq 0) comes last: when tcpdump has printed it, it has printed all
	# packets before it.
	! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || fail 'the port is in use' "$log"
	await 'Flags \[R\.\], seq 0, ' "$packets" || fail 'tcpdump has not printed all packets' "$log"
	kill "$tcpdump"
	wait "$tcpdump" || true
	tcpdump=
	grep -q 'Flags \[[FR]\.\], seq [1-9]' "$packets" || fail 'the capture has no close' "$packets"
	# Omit the TCP options.
	sed -E 's/, options \[[^]]*\]//; s/^ *00:00:0//; /^$/d' "$packets" | head -n -2
	cat "$work/seen"
	printf 'ss: %s\n' "$(ss -Htan "sport = :$port" | awk '{print $1}' | grep . || echo none)"
	# The next capture uses another port, since TIME-WAIT lasts a minute.
	port=$((port + 1))
}

capture -linger default
capture -linger reset
capture -linger default -request $'go\nmore\n'
capture -linger lingering -request $'go\nmore\n'
