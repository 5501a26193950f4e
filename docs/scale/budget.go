package main

import "time"

// memoryTable is what the clients of a machine need.
func memoryTable() (r rows) {
	const rooms = perMachine * roomsOfClient
	r.add("", "for one", "how many", "for a machine")
	sum := func(part ...float64) (n float64) {
		for _, p := range part {
			n += p
		}
		return n
	}
	line := func(what string, each float64, many int) float64 {
		r.add(what, bytesText(each), count(many), bytesText(each*float64(many)))
		return each * float64(many)
	}
	plain := line("idle client", plainClient, perMachine)
	secure := line("idle client over TLS", tlsClient, perMachine)
	common := sum(
		line("client in the hub", hubClient, perMachine),
		line("membership of a room", membership, rooms),
		line("subscription of nats.go: a key or a room", goSubscription, perMachine+rooms),
		line("socket, in the kernel", kernelSocket, perMachine),
	)
	r.add("**all, plain**", "", "", "**"+bytesText(plain+common)+"**")
	r.add("**all, over TLS**", "", "", "**"+bytesText(secure+common)+"**")
	return r
}

// natsTable is what a NATS server needs.
func natsTable() (r rows) {
	const memberships = clients * roomsOfClient
	subscriptions := func(all int) float64 {
		return float64(all)/natsServers*natsSubscription + float64(all)*(natsServers-1)/natsServers*routeSubscription
	}
	r.add("", "keys by", "subscriptions", "in each NATS server")
	r.add("keys, core NATS", "a subscription", count(clients), bytesText(subscriptions(clients)))
	r.add("keys, JetStream", "an entry of a bucket", count(machines), bytesText(clients*bucketKey))
	r.add("rooms, both", "", count(memberships), bytesText(subscriptions(memberships)))
	return r
}

// trafficTable is what NATS has to carry.
func trafficTable() (r rows) {
	const (
		beats     = int(machines * time.Second / heartbeat)
		published = clients / 60
	)
	r.add("", "published a second", "delivered a second", "by each NATS server", "to each process")
	line := func(what string, published, receivers int) {
		all := published * receivers
		r.add(what, count(published), count(all), count(all/natsServers), count(all/machines))
	}
	line("heartbeats", beats, machines-1)
	line("a message to a room, from each client once a minute", published, membersOfRoom-1)
	line("a message to a key, the same, with its answer", published, 2)
	return r
}
