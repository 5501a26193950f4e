module wireline/examples/smtpd

go 1.26.0

require wireline v0.0.0

require golang.org/x/crypto v0.58.0 // indirect

require (
	github.com/pires/go-proxyproto v0.15.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace wireline => ../..
