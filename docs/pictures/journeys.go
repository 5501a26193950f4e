package main

// Who runs a step.
var (
	acceptor = actor{"the accept loop's goroutine", blue}
	loop     = actor{"the event loop's goroutine", green}
	user     = actor{"your function, on the same goroutine", yellow}
	client   = actor{"an event loop, for the client's socket", green}
	upstream = actor{"an event loop, for the upstream's socket", blue}
	anybody  = actor{"the goroutine that called Writable", grey}
	runner   = actor{"the goroutine that called Run", blue}
	drainer  = actor{"the drain's goroutine", yellow}
	serving  = actor{"the serving goroutine of each connection", green}
	program  = actor{"main's goroutine, before anything else", blue}
)

var frameJourney = journey{
	name:  "architecture-frame",
	title: "A frame, from the socket to the reply",
	steps: []step{
		{who: acceptor, file: "tcp/accept.go", calls: "acceptLoop",
			text: "waits until one more client may come (admission.wait), then accepts"},
		{who: acceptor, file: "tcp/rawlistener_linux.go", calls: "accept",
			text: "gives a bare socket; elsewhere tcp/listener.go gives a net.Conn"},
		{who: acceptor, file: "tcp/serve.go", calls: "start, admit, deliver",
			text: "counts the client, then its address. If its PROXY header has not arrived, or if TLS is on, a goroutine waits first (tcp/preamble.go)."},
		{who: acceptor, file: "handler/frames.go", calls: "Accept, attach",
			text: "makes the Client, puts its socket on an event loop, and adds it to the set"},
		{who: loop, file: "internal/eventloop/loop_linux.go", calls: "run, fetch, pick",
			text: "takes events from epoll and claims the socket of each"},
		{who: loop, file: "handler/serve.go", calls: "Ready, step, serve, receive",
			text: "reads what has arrived into the loop's buffer"},
		{who: loop, file: "handler/batch.go", calls: "serveBatch, serveFrames",
			text: "takes one frame after the other: Buffer.Next in lib/frame/buffer.go asks the codec"},
		{who: user, file: "handler/frames.go", calls: "OnFrame",
			text: "may block: then another goroutine takes over the loop"},
		{who: user, file: "handler/write.go", calls: "Write, WriteFrame",
			text: "encode the reply and add it to the queue (internal/outq)"},
		{who: loop, file: "handler/output.go", calls: "endBatch, flushLocked",
			text: "send the replies of the batch in one call"},
		{who: loop, file: "handler/serve.go", calls: "settle",
			text: "gives the buffer back and sets the timer; the client is idle again"},
		{who: loop, file: "handler/output.go", calls: "blockLocked, resumeOutput", aside: true,
			text: "if the socket took only a part: the rest is sent when it takes more. Until then nothing is read."},
	},
}

var proxyJourney = journey{
	name:  "architecture-proxy",
	title: "A byte through the proxy",
	steps: []step{
		{who: acceptor, file: "proxy/proxy.go", calls: "Accept",
			text: "makes the pair, and chooses an upstream (proxy/balance.go)"},
		{who: acceptor, file: "proxy/dial_linux.go", calls: "dial",
			text: "begins the connect, which the client's loop waits for. A name, a unix socket or send_proxy take a goroutine: proxy/connect.go."},
		{who: client, file: "proxy/pair.go", calls: "attach, start",
			text: "puts the upstream's socket on the client's loop; both sides may run"},
		{who: client, file: "proxy/side.go", calls: "Ready, advance",
			text: "locks the pair, notes the event, and asks wire what to do"},
		{who: client, file: "proxy/next.go", calls: "next",
			text: "decides, without I/O: actRead"},
		{who: client, file: "proxy/flow.go", calls: "read, copy",
			text: "read the client's socket and write to the upstream's: a small message is one call each"},
		{who: client, file: "proxy/wire.go", calls: "received, wrote",
			text: "keep the outcome: the time, what is pending, which side is full"},
		{who: client, file: "proxy/splice_linux.go", calls: "splice", aside: true,
			text: "a stream that has filled two buffers in a row goes through a pipe"},
		{who: anybody, file: "proxy/side.go", calls: "Writable, settle, help", aside: true,
			text: "if the upstream took only a part: when it takes more, write the rest"},
		{who: anybody, file: "proxy/flow.go", calls: "flush", aside: true,
			text: "until all is written, nothing is read from the client"},
		{who: upstream, file: "proxy/side.go", calls: "sendFIN",
			text: "the client's FIN, once all before it is written (wire.owesFIN). The other direction goes on."},
		{who: upstream, file: "proxy/side.go", calls: "close",
			text: "when both FINs are passed on, each side closes its socket; the last one writes the record (pair.leave)"},
	},
}

var drainJourney = journey{
	name:  "architecture-drain",
	title: "A drain, from the signal to the exit code",
	steps: []step{
		{who: runner, file: "tcp/group.go", calls: "Run, stop",
			text: "the first signal begins the grace time; a second one cuts the rest short"},
		{who: runner, file: "tcp/drain.go", calls: "Shutdown",
			text: "stops the accept loops and starts the drain, once"},
		{who: acceptor, file: "tcp/accept.go", calls: "sweep",
			text: "accepts what waits in the kernel's queue, keeps new SYNs out (tcp/blocksyn_linux.go), sweeps again, closes the listener"},
		{who: drainer, file: "tcp/drain.go", calls: "runDrain, waitAccepting",
			text: "waits for the accept loops to end"},
		{who: drainer, file: "tcp/preamble.go", calls: "waitPreambles",
			text: "gives PROXY headers and TLS handshakes a second at most"},
		{who: drainer, file: "tcp/drain.go", calls: "stopHandler",
			text: "calls Shutdown of the handler"},
		{who: drainer, file: "internal/drain/set.go", calls: "Shutdown, drain",
			text: "asks every connection whether it is busy (Member.Drain), then wakes all of them"},
		{who: serving, file: "handler/serve.go", calls: "drainRead",
			text: "an idle client: one read for a frame that has arrived, or else its end"},
		{who: serving, file: "handler/batch.go", calls: "endFrames",
			text: "a busy client: its frame is served to the end, no further one begins"},
		{who: serving, file: "proxy/wire.go", calls: "drain, draining",
			text: "a pair: ends when nothing has moved for proxy.drain_quiet"},
		{who: serving, file: "handler/finish.go", calls: "finish, close, leave",
			text: "sends the replies, then the FIN; the record is written and the set left"},
		{who: drainer, file: "internal/drain/set.go", calls: "cut", aside: true,
			text: "when the time is over: Member.Cut resets what is left"},
		{who: runner, file: "tcp/drain.go", calls: "logDrained",
			text: "writes the line \"drained\"; internal/app/app.go returns 0 or 1"},
	},
}

var configJourney = journey{
	name:  "architecture-config",
	title: "A configuration key, from its tag to its use",
	steps: []step{
		{who: program, file: "tcp/config.go", calls: "Config",
			text: "declares it: a field with the tags config, default and help"},
		{who: program, file: "internal/app/config.go", calls: "Config, Service",
			text: "joins the Config of every package; names come from the tags: tcp.max_clients"},
		{who: program, file: "internal/app/app.go", calls: "Main, run",
			text: "passes the arguments and the environment on"},
		{who: program, file: "config/load.go", calls: "Load",
			text: "does all of what follows"},
		{who: program, file: "config/keys.go", calls: "walk",
			text: "makes a key of each field, by reflection"},
		{who: program, file: "config/read.go", calls: "read, defaults, file, environ, flags",
			text: "puts the sources one over the other (viper); parseFile, parseEnv and parseFlags read them"},
		{who: program, file: "config/parse.go", calls: "kindOf",
			text: "the kind of the field parses the text: a duration, a size, a list"},
		{who: program, file: "config/read.go", calls: "assign",
			text: "sets the fields"},
		{who: program, file: "config/check.go", calls: "check, visit",
			text: "calls Validate of each section; an error names the key and its source"},
		{who: program, file: "internal/app/maker.go", calls: "server",
			text: "gives each package its Config"},
		{who: program, file: "tcp/settings.go", calls: "newSettings",
			text: "the package uses the field; zero means no limit"},
	},
}
