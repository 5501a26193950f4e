package natsbus

import (
	"context"

	"wireline/hub"
)

const VerdictAccepted = byte(verdictAccepted)

// ErrConflict is the error of a write to an entry that has changed, or was only marked.
var ErrConflict = errConflict

// TakeFromAbsent takes a key as Claim does from an owner that was not there when it was asked.
func TakeFromAbsent(ctx context.Context, b *Bus, key string) error {
	e, err := b.owner.bucket.get(ctx, key)
	if err != nil {
		return err
	}
	c, err := b.claims.begin(b, key, hub.KickFirst, func() {})
	if err != nil {
		return err
	}
	defer c.Release()
	return b.owner.replace(ctx, c, e)
}
