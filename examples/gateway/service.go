package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"wireline/examples/gateway/protocol"
	"wireline/handler"
	"wireline/hub"
	"wireline/lib/logger"
)

// service serves devices as one configuration says. A reload makes another one, for the devices that
// come later.
type service struct {
	*gateway
	frames    handler.Frames
	devices   Devices
	collector *collector // or nil
}

func newService(g *gateway, devices Devices, log logger.Config, collector *collector) *service {
	s := &service{gateway: g, devices: devices, collector: collector}
	s.frames = handler.Frames{
		Codec:             protocol.Codec(devices.MaxPayload),
		OnOpen:            s.open,
		OnFrame:           s.serve,
		OnIdle:            s.ask,
		OnEnd:             s.end,
		FirstFrameTimeout: devices.LoginTimeout,
		FrameTimeout:      devices.FrameTimeout,
		ReadTimeout:       devices.Silence,
		WriteTimeout:      devices.WriteTimeout,
		MaxPending:        maxPending,
		Limit:             devices.Limit,
		OnRecord:          handler.LogFailures(g.log),
	}
	if log.Connections {
		s.frames.OnRecord = handler.LogRecords(g.log)
	}
	return s
}

// maxPending is how many bytes may wait for a device that reads slowly. Then no further command is
// sent to it, and nothing is read from it.
const maxPending = 64 << 10

// open is called for each connection.
func (s *service) open(c *handler.Client) error {
	c.Value = new(device)
	return nil
}

// serve serves a frame of a device. What is wrong with it ends the connection; it is no failure of
// the gateway.
func (s *service) serve(c *handler.Client, frame []byte) error {
	if err := s.serveMessage(c, frame); err != nil {
		c.CloseFor(err)
	}
	return nil
}

func (s *service) serveMessage(c *handler.Client, frame []byte) error {
	m, err := protocol.Parse(frame)
	if err != nil {
		return err
	}
	id := deviceOf(c).ID()
	switch {
	case (m.Type == protocol.Login) != (id == ""):
		return &protocol.Error{Code: protocol.BadMessage, Text: "the login must be the first message, and no other one"}
	case m.Type == protocol.Login:
		return s.login(c, m)
	case m.Type == protocol.Reading:
		return s.reading(c, m)
	case m.Type == protocol.Heartbeat:
		return s.acknowledge(c, m)
	case m.Type == protocol.Answer:
		if !s.hub.Answer(c, frame) {
			s.log.Debug("nobody waits for this answer", "device", id, "sequence", m.Sequence)
		}
		return nil
	case m.Type == protocol.Ack: // of ask
		return nil
	}
	return &protocol.Error{Code: protocol.BadMessage, Text: fmt.Sprintf("no message of a device has type %#02x", byte(m.Type))}
}

// login checks the id of a device, and welcomes it. The device is known before the hub has it, and so
// before it gets a command.
func (s *service) login(c *handler.Client, m protocol.Message) error {
	id := string(m.Payload)
	switch {
	case !protocol.IsName(id):
		return &protocol.Error{Code: protocol.BadMessage, Text: "the id is not valid"}
	case len(s.devices.Known) > 0 && !slices.Contains(s.devices.Known, id):
		return &protocol.Error{Code: protocol.UnknownDevice, Text: "unknown device"}
	case s.devices.MatchCertificate && !isFor(c.TLS(), id):
		return &protocol.Error{Code: protocol.UnknownDevice, Text: "the certificate is not for this id"}
	}
	c.SetAttr(slog.String("device", id))
	deviceOf(c).loggedIn(id)
	if err := s.join(c, id); err != nil {
		return err
	}
	return send(c, protocol.Message{Type: protocol.Welcome, Sequence: m.Sequence, Payload: protocol.AppendSilence(nil, s.devices.Silence)})
}

// reading takes a measurement, and acknowledges it when it is on its way.
func (s *service) reading(c *handler.Client, m protocol.Message) error {
	measurement, err := protocol.ParseMeasurement(m.Payload)
	if err != nil {
		return err
	}
	d := deviceOf(c)
	d.measured(measurement)
	s.log.Info("reading", "device", d.ID(), "name", measurement.Name, "value", measurement.Value)
	s.collector.send(fmt.Sprintf("%s %s %s\n", d.ID(), measurement.Name, valueText(measurement.Value)))
	return s.acknowledge(c, m)
}

// valueText returns a value on one line.
func valueText(value any) string {
	if text, ok := value.(string); ok {
		return strconv.Quote(text)
	}
	return fmt.Sprint(value)
}

func (s *service) acknowledge(c *handler.Client, m protocol.Message) error {
	return send(c, protocol.Message{Type: protocol.Ack, Sequence: m.Sequence})
}

// ask is called when a device was silent for half of the time that it may be.
func (s *service) ask(c *handler.Client) error {
	return send(c, protocol.Message{Type: protocol.Heartbeat})
}

func send(c *handler.Client, m protocol.Message) error { return c.WriteFrame(m.Bytes()) }

// end tells a device why its connection ends, if it can still be told.
func (s *service) end(c *handler.Client) {
	if why := failureOf(c.Record()); why != nil {
		send(c, protocol.Message{Type: protocol.Failure, Payload: why.Append(nil)})
	}
}

// failureOf returns what a device is told about the end of its connection; nil if it has ended that
// itself.
func failureOf(r handler.Record) *protocol.Error {
	var own *protocol.Error
	switch {
	case errors.As(r.Err, &own):
		return own
	case errors.Is(r.Err, hub.ErrReplaced):
		return &protocol.Error{Code: protocol.Replaced, Text: "a newer connection has logged in with the id"}
	}
	switch r.Reason {
	case handler.ReasonFrameError:
		return &protocol.Error{Code: protocol.BadMessage, Text: r.Err.Error()}
	case handler.ReasonFirstFrameTimeout:
		return &protocol.Error{Code: protocol.Late, Text: "no login in time"}
	case handler.ReasonFrameTimeout:
		return &protocol.Error{Code: protocol.Late, Text: "the rest of a frame has not come in time"}
	case handler.ReasonReadTimeout:
		return &protocol.Error{Code: protocol.Silent, Text: "silent for too long"}
	case handler.ReasonApplication, handler.ReasonKicked: // by gateway.kick, perhaps of another process; by the admin side
		return &protocol.Error{Code: protocol.Kicked, Text: errKicked.Error()}
	case handler.ReasonDrain:
		return &protocol.Error{Code: protocol.Stopping, Text: "the gateway stops"}
	}
	return nil
}
