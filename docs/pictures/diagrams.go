package main

// The colours of the states.
const (
	early = blue
	open  = green
	late  = yellow
	over  = grey
)

var clientStates = clientDiagram()

// clientDiagram has its states in a column, the causes to the right of the arrows, and the
// shorter ways in lanes at the right margin.
func clientDiagram() diagram {
	const (
		left, wide = 24, 200
		middle     = left + 60
		right      = left + wide
		near       = 318 // the lanes
		far        = 346
		edge       = 384
	)
	nodes := []node{
		{y: 40, name: "opening", text: []string{"OnOpen is still to be called"}, color: early},
		{y: 138, name: "serving", text: []string{"frames are read and served"}, color: open},
		{y: 298, name: "flushing", text: []string{"what was written is sent"}, color: late},
		{y: 384, name: "parting", text: []string{"the FIN is to be sent"}, color: late},
		{y: 470, name: "lingering", text: []string{"input is discarded"}, color: late},
		{y: 574, name: "concluding", text: []string{"a close that is to wait"}, color: late},
		{y: 660, name: "acknowledging", text: []string{"the kernel is asked"}, color: late},
		{y: 764, name: "over", text: []string{"FIN or RST is decided"}, color: late},
		{y: 868, name: "closed", text: []string{"closed, or has a new owner"}, color: over},
	}
	for i := range nodes {
		nodes[i].x, nodes[i].w = left, wide
	}
	handshaking := node{250, 40, 140, "handshaking", []string{"of StartTLS"}, open}
	// down is the way from one state to the next.
	down := func(i int, text ...string) way {
		from, to := nodes[i], nodes[i+1]
		y := from.y + from.height()
		base := (y+to.y)/2 + 5 - float64(len(text)-1)*leading/2
		return way{[]point{{middle, y}, {middle, to.y}}, point{middle + 8, base}, text}
	}
	// past is a way that leaves at the right side, dy below the top of its state, and comes
	// back to another in the same way.
	past := func(i int, dy float64, lane float64, j int, into float64, text ...string) way {
		from, to := nodes[i], nodes[j]
		return way{
			[]point{{right, from.y + dy}, {lane, from.y + dy}, {lane, to.y + into}, {right, to.y + into}},
			point{right + 6, from.y + dy - 5}, text,
		}
	}
	return diagram{
		name:   "architecture-client",
		title:  "A client's phases, and those of its close",
		height: 930,
		frames: []frame{{margin, 270, width - 2*margin, 554, "closing: the steps of internal/closing", 82}},
		nodes:  append(nodes, handshaking),
		ways: []way{
			{[]point{{right, 144}, {266, 144}, {266, 85}}, point{272, 106}, []string{"StartTLS"}},
			{[]point{{340, 85}, {340, 155}, {right, 155}}, point{346, 122}, []string{"over"}},
			down(0, "the first Ready"),
			down(1, "end: the client's FIN or RST,", "an error, a timeout, ErrQuit,", "Close, a drain, a cut, a panic"),
			down(2, "Flushed: Quiet, Linger"),
			down(3, "FINSent"),
			down(4, "Input: the peer's FIN,", "or the time is over"),
			down(5, "FINSent"),
			down(6, "Acknowledged: all,", "or the time is over"),
			down(7, "conn.Close, leave"),
			past(1, 40, edge, 8, 28, "Hijack"),
			past(2, 14, far, 7, 8, "RST, failed, or FIN"),
			past(2, 36, near, 5, 14, "FIN, waits"),
			past(3, 28, near-22, 7, 22, "no FIN"),
			past(4, 28, near-44, 7, 36, "no wait"),
		},
	}
}

// pairStates has two states beside each other in the middle.
var pairStates = diagram{
	name:   "architecture-pair",
	title:  "A pair of the proxy: the phases of wire",
	height: 690,
	nodes: []node{
		{80, 40, 240, "connecting", []string{"there is no upstream yet"}, early},
		{80, 138, 240, "relaying", []string{"bytes and FINs pass"}, open},
		{margin + 14, 300, 160, "resetting", []string{"the other side gets", "all that came before"}, late},
		{222, 300, 160, "parting", []string{"both get a FIN; what", "they send is discarded"}, late},
		{80, 494, 240, "closing", []string{"the sockets are to be closed,", "reset, or kept in the pool.", "Cut leads here from anywhere."}, late},
		{80, 628, 240, "closed", []string{"the record is written"}, over},
	},
	ways: []way{
		{[]point{{200, 85}, {200, 138}}, point{208, 116}, []string{"start: an upstream"}},
		{[]point{{80, 62}, {14, 62}, {14, 650}, {80, 650}}, point{18, 56}, []string{"refuse"}},
		{[]point{{110, 183}, {110, 300}}, point{118, 232}, []string{"a side", "is broken"}},
		{[]point{{300, 183}, {300, 300}}, point{308, 216}, []string{"idle, quiet", "in a drain,", "or one-way"}},
		{[]point{{204, 183}, {204, 494}}, point{116, 396}, []string{"both FINs are passed on,", "both sides are broken,", "the half-close timeout,", "or the upstream is reused"}},
		{[]point{{100, 362}, {100, 494}}, point{18, 474}, []string{"delivered,", "or stuck"}},
		{[]point{{310, 362}, {310, 494}}, point{318, 488}, []string{"0.5 s"}},
		{[]point{{382, 330}, {392, 330}, {392, 650}, {320, 650}}, point{330, 600}, []string{"both", "ended"}},
		{[]point{{200, 573}, {200, 628}}, point{208, 606}, []string{"left, twice"}},
	},
}
