//go:build !linux

package eventloop

import (
	"errors"
	"net"
	"time"
)

// Socket, Group and Worker's keeping are of Linux. Here no Group can be made, so there is
// no Socket to call a method of.
type Socket struct{}

var _ Conn = (*Socket)(nil)

type keeping struct{}

const unreachable = "unreachable: there are no event loops on this system"

func (s *Socket) Now() int64                     { panic(unreachable) }
func (s *Socket) FD() int                        { panic(unreachable) }
func (s *Socket) Start()                         { panic(unreachable) }
func (s *Socket) Wake()                          { panic(unreachable) }
func (s *Socket) SetTimer(int64)                 { panic(unreachable) }
func (s *Socket) WatchOut(bool) error            { panic(unreachable) }
func (s *Socket) Read([]byte) (int, bool, error) { panic(unreachable) }
func (s *Socket) Look([]byte) (int, bool, error) { panic(unreachable) }
func (s *Socket) Discard(int) int                { panic(unreachable) }
func (s *Socket) Write([3][]byte) (int, error)   { panic(unreachable) }
func (s *Socket) CloseWrite() error              { panic(unreachable) }
func (s *Socket) Unsent() int                    { panic(unreachable) }
func (s *Socket) Acknowledged() bool             { panic(unreachable) }
func (s *Socket) Err() error                     { panic(unreachable) }
func (s *Socket) LocalAddr(net.Addr) net.Addr    { panic(unreachable) }
func (s *Socket) SetLinger(int)                  { panic(unreachable) }
func (s *Socket) Reset()                         { panic(unreachable) }
func (s *Socket) Remove() []byte                 { panic(unreachable) }
func (s *Socket) Close()                         { panic(unreachable) }

// Group is what a handler has of the event loops.
type Group struct{}

// New returns errors.ErrUnsupported.
func New(int) (*Group, error) { return nil, errors.ErrUnsupported }

// Join returns errors.ErrUnsupported.
func Join() (*Group, error) { return nil, errors.ErrUnsupported }

// Add returns errors.ErrUnsupported.
func (g *Group) Add(*Socket, int, Handler, Placement) error { return errors.ErrUnsupported }

func (g *Group) Now() int64              { panic(unreachable) }
func (g *Group) Stop()                   { panic(unreachable) }
func (g *Group) Wait(time.Duration) bool { panic(unreachable) }
