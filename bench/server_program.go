//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is a proxy that is installed.
type program struct {
	// file is its name on the path.
	file string

	// args returns the arguments to start it with. It writes the files that it needs to dir.
	// The clients speak TLS if there is a certificate.
	args func(dir string, listen, upstream netip.AddrPort, certificate string) ([]string, error)

	// check are additional arguments that make it check its configuration only; none for a
	// program without a configuration.
	check []string
}

var (
	nginxProgram   = program{file: nginx, args: nginxArgs, check: []string{"-t"}}
	haproxyProgram = program{file: haproxy, args: haproxyArgs, check: []string{"-c"}}
	socatProgram   = program{file: socat, args: socatArgs}
)

// nginxModules are the folders of the stream module in distributions where it is not part of
// nginx.
var nginxModules = []string{
	"/usr/lib/nginx/modules/ngx_stream_module.so",
	"/usr/lib64/nginx/modules/ngx_stream_module.so",
}

// nginxConfig takes the module, a folder, the limit of files, the proxy's address, its options
// for TLS, and its upstream's address. A single process does the work, without a master process.
const nginxConfig = `%sdaemon off;
master_process off;
error_log stderr crit;
pid %s/nginx.pid;
events { worker_connections %d; }
stream {
	server {
		listen %s backlog=4096%s;
		proxy_pass %s;
		proxy_connect_timeout 5s;
		proxy_timeout 1h;
		proxy_half_close on;
	}
}
`

// cipher is the one that Go prefers on processors that have AES. OpenSSL may choose another.
const cipher = "TLS_AES_128_GCM_SHA256"

// nginxTLS takes the certificate's file, twice, and the cipher.
const nginxTLS = ` ssl;
		ssl_certificate %s;
		ssl_certificate_key %s;
		ssl_protocols TLSv1.3;
		ssl_conf_command Ciphersuites %s`

func nginxArgs(dir string, listen, upstream netip.AddrPort, certificate string) ([]string, error) {
	module := ""
	for _, path := range nginxModules {
		if _, err := os.Stat(path); err == nil {
			module = fmt.Sprintf("load_module %s;\n", path)
			break
		}
	}
	limit, err := fileLimit()
	if err != nil {
		return nil, err
	}
	secure := ""
	if certificate != "" {
		secure = fmt.Sprintf(nginxTLS, certificate, certificate, cipher)
	}
	path := configPath(dir, nginx, listen)
	text := fmt.Sprintf(nginxConfig, module, dir, limit, listen, secure, upstream)
	return []string{"-p", dir, "-e", "stderr", "-c", path}, os.WriteFile(path, []byte(text), 0o600)
}

// haproxyConfig takes the proxy's address, its options for TLS, and its upstream's address.
const haproxyConfig = `global
	nbthread 1
defaults
	mode tcp
	backlog 4096
	timeout connect 5s
	timeout client 1h
	timeout server 1h
	option splice-auto
listen proxy
	bind %s%s
	server upstream %s
`

// haproxyTLS takes the certificate's file and the cipher.
const haproxyTLS = " ssl crt %s ssl-min-ver TLSv1.3 ciphersuites %s"

func haproxyArgs(dir string, listen, upstream netip.AddrPort, certificate string) ([]string, error) {
	secure := ""
	if certificate != "" {
		secure = fmt.Sprintf(haproxyTLS, certificate, cipher)
	}
	path := configPath(dir, haproxy, listen)
	text := fmt.Sprintf(haproxyConfig, listen, secure, upstream)
	return []string{"-db", "-q", "-f", path}, os.WriteFile(path, []byte(text), 0o600)
}

func socatArgs(_ string, listen, upstream netip.AddrPort, _ string) ([]string, error) {
	return []string{
		fmt.Sprintf("TCP4-LISTEN:%d,bind=%s,backlog=4096,fork,nodelay", listen.Port(), listen.Addr()),
		fmt.Sprintf("TCP4:%s,nodelay", upstream),
	}, nil
}

func configPath(dir, name string, listen netip.AddrPort) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%d.conf", name, listen.Port()))
}

// findProgram finds a program, and makes it check its configuration. It returns a reason if
// the program is to be left out.
func (b *bench) findProgram(ctx context.Context, s server, dir string) (reason string, err error) {
	path, err := lookProgram(s.program.file)
	if err != nil {
		return fmt.Sprintf("no %s on the path", s.program.file), nil
	}
	b.programs[s.name] = path
	if s.program.check == nil {
		return "", nil
	}
	at, err := freeAddress()
	if err != nil {
		return "", err
	}
	args, err := s.program.args(dir, at, at, b.certificateOf(s))
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, append(s.program.check, args...)...).CombinedOutput()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return fmt.Sprintf("%s does not take its configuration: %v: %s", s.name, err, strings.TrimSpace(string(out))), nil
	}
	return "", nil
}

// lookProgram also searches the folders of administrators' programs.
func lookProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return exec.LookPath(filepath.Join(sbin, name))
	}
	return path, err
}

var sbin = "/usr/sbin"

// startFor starts a server for a load; a proxy with its upstream's listener.
func (b *bench) startFor(ctx context.Context, s server, l load, cores []int) (*running, error) {
	if l.plain {
		return b.startServing(ctx, cmdBoth, s, l.work, cores)
	}
	if l.work != relaying {
		return b.startServer(ctx, s, l.work, cores)
	}
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	file, err := ln.File()
	if err != nil {
		return nil, err
	}
	r, err := b.startProxy(ctx, s, ln.Addr().(*net.TCPAddr).AddrPort(), cores)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	r.upstream = file
	return r, nil
}

func (b *bench) startProxy(ctx context.Context, s server, upstream netip.AddrPort, cores []int) (r *running, err error) {
	if s.program == nil {
		path, name := b.programOf(s)
		return b.startAnnounced(ctx, s.name, cores, path, b.childArgs(cmdRelay, s, name, upstream.String())...)
	}
	r, err = b.startAt(ctx, s.name, b.programs[s.name], cores, func(at netip.AddrPort) ([]string, error) {
		return s.program.args(b.dir, at, upstream, b.certificateOf(s))
	})
	if err == nil {
		r.forks = s.forks
	}
	return r, err
}
