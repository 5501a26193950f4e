package natsbus

import (
	"context"
	"errors"

	"wireline/hub"
)

// Kick implements hub.Bus. The message reaches all processes that have the key, and the first answer
// says whether they may be several. Then all processes are asked, since nobody knows which have it:
// the error is nil only if each has answered that it has no such client any more. That may take
// another Timeout. It is ErrLost if none is known yet, as just after the start.
func (b *Bus) Kick(ctx context.Context, key, why string) error {
	a, err := b.askKey(ctx, key, append([]byte{byte(kindKick)}, why...))
	if !a.shared {
		return err
	}
	kicked := err == nil
	if err != nil && !errors.Is(err, hub.ErrUnknown) {
		return err
	}
	message := append(appendText([]byte{byte(kindKickShared)}, key), why...)
	answers := 0
	err = b.askAll(ctx, message, func(body cursor) {
		answers++
		kicked = kicked || body.byte() == 1
	})
	switch {
	case err != nil:
		return err
	case answers == 0: // whoever has answered first is not known
		return hub.ErrLost
	case !kicked:
		return hub.ErrUnknown
	}
	return nil
}

// serveKickShared kicks the clients of this process with a key, and answers whether there were any.
func (b *Bus) serveKickShared(c *cursor, reply string) {
	key := c.text()
	if c.bad {
		return
	}
	kicked := byte(0)
	if b.local.KickLocal(key, string(c.rest)) == nil {
		kicked = 1
	}
	b.respond(reply, verdictOK, append(b.id[:], kicked))
}
