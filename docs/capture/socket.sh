#!/usr/bin/env bash
# The life of a socket: the program under strace, with one client that is served and
# the drain. docs/sockets.md has its output.
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
# From the listener's socket on. Without the process numbers, the calls of which strace
# tells in two parts, and what the runtime does in its poller.
sed -E 's/^[0-9]+ +//' "$work/trace" | sed -n '/IPPROTO_IP) = [0-9]*$/,$p' |
	grep -v 'resumed>\|unfinished \.\.\.\|+++\|epoll_ctl.*_DEL' | grep -v 'epoll_ctl.*EPOLLIN|EPOLL\(OUT\|ET\)\|EPOLLIN,'
