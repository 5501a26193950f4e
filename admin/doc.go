// Package admin shows what servers do while they run, and changes it: metrics for Prometheus,
// the live connections with a way to end them, upstreams, health, profiles, and a page for
// all of it. A Server is an http.Handler, and can listen by itself:
//
//	admin := &admin.Server{Group: group, Config: admin.Config{Address: "127.0.0.1:9000"}}
//	go admin.ListenAndServe(ctx)
//
// Nothing that serves waits for it: what it needs is copied, one connection at a time, and no
// lock is held while an answer is written.
package admin
