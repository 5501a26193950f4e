// Package hub finds the clients of a server by key and by room: to push to a device by its id, to
// publish to all in a room, to ask a client and wait for its answer, and to decide about a second
// login.
//
// A client comes in with [Hub.Join], under a key such as the id of a device, and may enter any
// number of rooms. It leaves by itself when it ends. What leaves is always the connection, never
// the key: the late end of an older connection does not remove the newer one of the same key.
//
//	var h hub.Hub
//	frames.OnFrame = func(c *handler.Client, login []byte) error {
//		return h.Join(c, string(login))
//	}
//	...
//	err := h.Send(ctx, "device 7", []byte("reboot"))
//
// No lock is held while a client is written to, and nothing waits for a client: one that reads
// slowly delays no other.
//
// A [Bus] joins the hubs of several processes: a client is found in whichever process it is.
// Package hub/natsbus has one that uses NATS. The calls are the same; what they may wait for, and
// which errors they may return then, is said at each of them.
package hub
