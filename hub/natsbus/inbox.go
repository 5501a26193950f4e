package natsbus

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
)

// channelSize is how many messages nats.go may have ready. Their goroutine takes them without
// waiting for anything.
const channelSize = 1 << 16

// subscribe subscribes to what every node needs.
func (b *Bus) subscribe() error {
	for _, subject := range []string{b.answers + "*", b.names.node(b.id), b.names.all()} {
		if _, err := b.nc.ChanSubscribe(subject, b.keyBox); err != nil {
			return err
		}
	}
	return nil
}

// dispatch takes what arrives, but for the messages of rooms. It is one goroutine, so that an answer
// and a message about the same key are seen in the order in which the server sent them. It must
// not wait.
func (b *Bus) dispatch() {
	for {
		select {
		case m := <-b.keyBox:
			b.receive(m)
		case <-b.ctx.Done():
			return
		}
	}
}

func (b *Bus) receive(m *nats.Msg) {
	if strings.HasPrefix(m.Subject, b.answers) {
		b.receiveAnswer(m)
		return
	}
	if len(m.Data) == 0 {
		return
	}
	b.in.Add(1)
	what, body := kind(m.Data[0]), m.Data[1:]
	switch token, isKey := strings.CutPrefix(m.Subject, b.names.keys()); {
	case isKey:
		if key, ok := unescape(token); ok {
			b.serveKey(&keyMessage{kind: what, key: key, body: body, reply: m.Reply})
		}
	case what == kindDirect:
		b.serveDirect(body, m.Reply)
	default:
		b.serveNode(what, body, m.Reply)
	}
}

// receiveAnswer passes on an answer to the call in its subject. Without one it is about a claim that
// was checked.
func (b *Bus) receiveAnswer(m *nats.Msg) {
	id := b.callID(m.Subject)
	switch {
	case len(m.Data) > 0:
		b.in.Add(1)
		a := answer{verdict: verdict(m.Data[0]), data: m.Data[1:]}
		if id == checkID {
			b.checked(a)
			return
		}
		b.calls.answer(id, a)
	case m.Header.Get("Status") == "503":
		b.calls.answer(id, answer{err: errNobody})
	}
}

// respond sends an answer. One that cannot be sent is lost, and the other side finds out by itself.
func (b *Bus) respond(reply string, v verdict, data []byte) {
	if reply == "" {
		return
	}
	b.post(reply, "", append([]byte{byte(v)}, data...))
}

// respondTo answers with what a function of the hub has returned.
func (b *Bus) respondTo(reply string, shared bool, data []byte, err error) {
	message := append([]byte{byte(verdictOK)}, data...)
	if err == nil && int64(len(message)) > b.maxPayload.Load() {
		err = errors.New("natsbus: the answer is longer than the server allows")
	}
	if err != nil {
		message = encodeError(err)
	}
	if shared {
		message[0] |= byte(verdictShared)
	}
	if reply != "" {
		b.post(reply, "", message)
	}
}
