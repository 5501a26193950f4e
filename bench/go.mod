module wireline/bench

go 1.26.0

require (
	github.com/cloudwego/netpoll v0.7.2
	golang.org/x/sys v0.49.0
	wireline v0.0.0
)

require (
	github.com/bytedance/gopkg v0.1.1 // indirect
	github.com/cloudwego/gopkg v0.1.4 // indirect
	go.uber.org/atomic v1.11.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace wireline => ../
