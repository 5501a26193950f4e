// Package natsbus joins the hubs of several processes to one, by NATS. It is a module of its own, so
// that programs on one machine do not need NATS.
//
//	bus := &natsbus.Bus{URL: "nats://10.0.0.1:4222"}
//	h := &hub.Hub{Second: hub.KickFirst, Bus: bus}
//
// An [Embedded] server runs in the process itself.
//
// # Two modes
//
// With core NATS alone, a process owns a key by being subscribed to its subject, and asks the others
// before. With JetStream ([Bus.JetStream]) a key-value bucket says who owns a key, and each process
// has a lease. That is stricter, and costs a write to the bucket for each first Join and last Leave
// of a key. Keys with hub.AllowBoth are not in the bucket; for them both modes are the same.
//
// # What is promised
//
// T is Timeout (2 s), H is Heartbeat (1 s), L is Lease (10 s).
//
//	                          core NATS                        JetStream
//	order of the messages     kept                             kept
//	of one sender to a room
//	a message of a room       at most once                     at most once
//	Send, Kick, Has           answer or error within T         answer or error within 3T
//	Kick with AllowBoth       the same within 2T; nil when     the same
//	                          all processes have answered
//	Request                   answer or error; ErrLost         the same
//	                          within 2H+T after the other
//	                          process has ended
//	nil from Send             the owner's connection has it    the same
//	                          queued
//	take-over (KickFirst)     the old owner has no client      the old owner takes no message
//	                          when Join returns, if it         that was sent after Join has
//	                          answers within T. If not, both   returned. Join waits for an owner
//	                          may receive until it goes on     that does not answer for up to 1.5L
//	keys of a process that    free when the server sees the    the same
//	was killed                end of its connection: at once
//	keys of a process that    with KickFirst free after T;     free after 1.5L
//	hangs, or whose machine   with RefuseSecond when the
//	has gone                  server closes its connection
//	keys of a process that    free: it cannot be asked         the same
//	has lost its connection
//	two owners after a        KickFirst: the newer claim       cannot be: only the side with most
//	partition                 stays. RefuseSecond: the older.  of the JetStream servers can claim
//	                          Within 5H after its end
//	a server that hangs       counts as away after T+3H        the same
//
// 1.5L is in whole seconds: JetStream deletes an entry no sooner. A server closes the connection of a
// machine that has gone after its ping_interval times ping_max+1: 6 minutes by default, 15 s for an
// Embedded. Which claim is newer, the clocks of the machines say, but a claim that is made while
// both processes see each other always is newer. The losing client is closed with hub.ErrReplaced.
//
// The lease is why no message goes to an old owner. A process that could not renew it for L, by its
// own monotonic clock, refuses messages of other processes, as does one whose connection is a new
// one, until it has seen that the bucket still names it. It looks before it delivers a message and
// again after that: if the lease has run out meanwhile, the sender gets hub.ErrLost, which says that
// the message may have arrived. The clocks need not agree, but have to run at the same speed to
// within a third.
//
// A process delivers to its own clients without asking anybody. So what it sends to its own client
// while it is cut off, or before it has noticed that it was stopped, arrives, also if the key is
// owned elsewhere by then. The same holds for messages of rooms until the client is closed.
//
// While there is no connection, calls fail at once with hub.ErrAway; calls that wait for an answer end
// with hub.ErrLost, since the answer may be lost. What other processes publish meanwhile is not
// received later. The bus connects again by itself, for ever.
//
// The entries of a process that was killed stay in the bucket until their keys are claimed again, or
// a process finds them: each looks at ten entries once in H, and removes one when it comes by it for
// the second time while its process has no lease. A process that was only late writes its entries
// again.
//
// [Bus.Presence] asks all processes in both modes: a write to a replicated log for each Enter would
// cost more than a question for each Presence. A process that has not been heard for 4H is not waited
// for. While it has a connection, as when it hangs, Presence returns hub.ErrLost with the keys of the
// others.
//
// # What may be lost
//
// Messages of rooms are lost while a process has no connection, and when it is too slow. What the
// process drops, because MaxPending bytes wait for delivery or because nats.go has dropped it, is
// counted in BusStats.Dropped, logged, and reported to [Bus.OnDrop]. A server that drops messages for
// a slow process closes its connection; then BusStats.Reconnects counts.
//
// A Send, Has or Kick that meets the subscription of a key just when it ends has no answer: it ends
// with hub.ErrLost after T, though no client has the key. With JetStream it does not.
//
// # On the wire
//
// The subjects are Prefix.r.ROOM, Prefix.k.KEY, Prefix.n.NODE, Prefix.a.NODE.ID and Prefix.all. The
// bytes of rooms and keys are escaped in them: all but letters, digits, '-' and '_' become "=XX". A
// message of a room is the payload alone, so any NATS client can publish to a room or listen to it. Its
// reply subject, which nobody answers to, says which process has sent it, and counts.
// A subscription costs the server and each process some hundred bytes; there is one for each room
// that a process has clients in, and, without JetStream, for each key.
package natsbus
