#!/usr/bin/env bash
# The life of a socket: this runs the program under strace, serves one client, and drains.
# docs/sockets.md shows the output.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/wireline" .
calls=socket,setsockopt,bind,listen,accept4,recvfrom,sendto,shutdown,close,epoll_ctl
strace -f -e "trace=$calls" -e signal=none -o "$work/trace" "$work/wireline" \
	--tcp.address=127.0.0.1:8000 --tcp.keepalive.idle=1m --tcp.user_timeout=30s --tcp.backlog=64 2>"$work/log" &
strace=$!
until grep -q listening "$work/log"; do sleep 0.05; done
(printf 'hello\n'; sleep 2) | nc 127.0.0.1 8000 >"$work/reply" &
until grep -q hello "$work/reply"; do sleep 0.05; done
kill -INT "$(pgrep -P "$strace")"
wait "$strace"
# Show the calls from the listener's socket on, without the process numbers, the calls that
# strace prints in two parts, and those of the runtime's poller.
sed -E 's/^[0-9]+ +//' "$work/trace" | sed -n '/IPPROTO_IP) = [0-9]*$/,$p' |
	grep -v 'resumed>\|unfinished \.\.\.\|+++\|epoll_ctl.*_DEL' | grep -v 'epoll_ctl.*EPOLLIN|EPOLL\(OUT\|ET\)\|EPOLLIN,'
