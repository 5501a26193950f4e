#!/usr/bin/env bash
# What the ways to close look like on the wire: runs the program in this folder under
# tcpdump on the loopback interface, and asks ss what the kernel still holds of the
# server's end. As root. docs/closing.md has its output.
set -euo pipefail
cd "$(dirname "$0")"
port=8000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/capture" .

capture() { # FLAG...
	printf '\n$ capture'
	printf ' %q' "$@"
	printf '\n'
	tcpdump -i lo -nn -ttt --immediate-mode -l "tcp port $port" >"$work/packets" 2>"$work/log" &
	local tcpdump=$!
	until grep -q 'listening on' "$work/log"; do sleep 0.05; done
	"$work/capture" -address "127.0.0.1:$port" "$@" >"$work/seen"
	sleep 0.5 # what is still on its way
	kill "$tcpdump"
	wait "$tcpdump" || true
	# The options of TCP do not matter here.
	sed -E 's/, options \[[^]]*\]//; s/^ *00:00:0//; /^$/d' "$work/packets"
	cat "$work/seen"
	printf 'ss: %s\n' "$(ss -Htan "sport = :$port" | awk '{print $1}' | grep . || echo none)"
	# For the next one, the table is to be empty: TIME-WAIT is of a minute.
	port=$((port + 1))
}

capture -linger default
capture -linger reset
capture -linger default -request $'go\nmore\n'
capture -linger lingering -request $'go\nmore\n'
