package main

var overview = overviewDiagram()

// overviewDiagram has the way of a connection in a column at the left, and what stands beside
// it at the right. Blue runs on the accept loop's goroutine, green on an event loop's, yellow
// is the user's function, and grey is something else.
func overviewDiagram() diagram {
	const (
		left, wide    = 20, 176
		right, narrow = 236, 148
		edge          = left + wide
		down          = left + 140 // the arrows in the column
		beside        = right + 74 // those at the right
	)
	column := []node{
		{y: 34, name: "clients", color: grey},
		{y: 102, name: "listener", text: []string{"TCP or a unix socket"}, color: blue},
		{y: 165, name: "accept, admission", text: []string{"limits, access lists"}, color: blue},
		{y: 228, name: "preamble", text: []string{"PROXY header, TLS"}, color: blue},
		{y: 321, name: "event loop", text: []string{"one for each processor"}, color: green},
		{y: 384, name: "transport", text: []string{"a plain socket, or TLS"}, color: green},
		{y: 477, name: "frames", text: []string{"split by lib/frame"}, color: green},
		{y: 540, name: "OnFrame", text: []string{"your function; replies", "leave in one write"}, color: yellow},
	}
	var ways []way
	for i := range column {
		column[i].x, column[i].w = left, wide
		if i > 0 {
			above := column[i-1]
			ways = append(ways, way{points: []point{{down, above.y + above.height()}, {down, column[i].y}}})
		}
	}
	for _, ends := range [][]point{
		{{edge, 406}, {right, 406}},    // transport and proxy pair
		{{beside, 375}, {beside, 342}}, // proxy pair and upstreams
		{{edge, 571}, {right, 571}},    // OnFrame and hub
		{{beside, 602}, {beside, 640}}, // hub and bus
	} {
		ways = append(ways, way{points: ends}, way{points: []point{ends[1], ends[0]}})
	}
	ways = append(ways, way{points: []point{{right, 150}, {edge + 10, 150}}}) // from admin
	return diagram{
		name:   "architecture",
		title:  "The way of a connection through wireline",
		height: 695,
		frames: []frame{
			{margin, 78, wide + 20, 205, "tcp", 10},
			{margin, 297, wide + 20, 142, "internal", 10},
			{margin, 453, wide + 20, 159, "handler", 10},
		},
		nodes: append(column,
			node{right, 102, narrow, "admin", []string{"page, API, metrics:", "shows connections,", "ends them, drains", "upstreams, reloads"}, grey},
			node{right, 297, narrow, "upstreams", []string{"other servers"}, grey},
			node{right, 375, narrow, "proxy pair", []string{"a client and its", "upstream"}, green},
			node{right, 540, narrow, "hub", []string{"clients by key and", "by room"}, green},
			node{left, 640, right + narrow - left, "bus", []string{"NATS, to the hubs of other processes"}, grey},
		),
		ways: ways,
	}
}
