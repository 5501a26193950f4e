package adminctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"wireline/admin"
)

// plainRows is how many connections top lists where there is no terminal.
const plainRows = 20

// lookTimeout bounds the requests for one screen.
const lookTimeout = 5 * time.Second

// sortings are the orders that the key s goes through.
var sortings = []string{"-rate", "-age", "-idle", "-pending", "-in", "-out", "id"}

// screen is what one update of top shows.
type screen struct {
	at          time.Time
	services    admin.Services
	upstreams   admin.Upstreams
	hubs        admin.Hubs
	connections admin.Connections
	before      *screen // the update before; nil for the first
}

// top shows what is going on: once, or in a terminal again and again, until q or ctx ends.
func top(ctx context.Context, cmd *Command, c *client, w io.Writer) error {
	every, err := cmd.flags.GetDuration("every")
	if err != nil {
		return err
	}
	if every < 100*time.Millisecond {
		return fmt.Errorf("%w: --every must be at least 100ms", ErrUsage)
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return cmd.topOnce(ctx, c, w)
	}
	return cmd.watch(ctx, c, f, every)
}

// topOnce writes one screen. It looks twice, because rates are between two looks.
func (cmd *Command) topOnce(ctx context.Context, c *client, w io.Writer) error {
	first, err := cmd.look(ctx, c, plainRows, nil)
	if err != nil {
		return err
	}
	select {
	case <-time.After(rateSpan):
	case <-ctx.Done():
		return ctx.Err()
	}
	s, err := cmd.look(ctx, c, plainRows, first)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, strings.Join(s.lines(), "\n")+"\n")
	return err
}

// look asks for everything that a screen shows.
func (cmd *Command) look(ctx context.Context, c *client, rows int, before *screen) (*screen, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s := &screen{at: time.Now(), before: before}
	err := c.ask(ctx, "GET", "/api/services", nil, &s.services)
	if err == nil {
		err = c.ask(ctx, "GET", "/api/upstreams", nil, &s.upstreams)
	}
	if err == nil {
		err = c.ask(ctx, "GET", "/api/hubs", nil, &s.hubs)
	}
	if err == nil {
		s.connections, err = cmd.connections(ctx, c, rows, false)
	}
	return s, err
}

// lines returns the screen as text.
func (s *screen) lines() []string {
	head := "wireline " + printable(s.services.Version) + "  " + s.at.Format(time.TimeOnly)
	lines := append([]string{head, ""}, s.serviceTable().lines()...)
	if len(s.upstreams.Upstreams) > 0 {
		lines = append(lines, "")
		lines = append(lines, upstreamTable(s.upstreams.Upstreams).lines()...)
	}
	if len(s.hubs.Hubs) > 0 {
		lines = append(lines, "")
		lines = append(lines, s.hubTable().lines()...)
	}
	note := fmt.Sprintf("%d connections", s.connections.Total)
	if s.connections.Matched != s.connections.Total {
		note += fmt.Sprintf(", %d match", s.connections.Matched)
	}
	lines = append(lines, "", note)
	return append(lines, connectionTable(s.connections.Connections).lines()...)
}

func (s *screen) serviceTable() *table {
	t := newTable("SERVICE", "ADDRESS", ">CONNECTIONS", ">ACCEPTED", ">REFUSED", ">IN", ">OUT", ">IN/S", ">OUT/S", ">FRAMES/S", "")
	for _, x := range s.services.Services {
		refused := uint64(0)
		for _, n := range x.Refused {
			refused += n
		}
		in, out, frames := "", "", ""
		if old, ok := s.former(x.Name); ok {
			seconds := s.at.Sub(s.before.at).Seconds()
			per := func(now, then int64) string { return size(max(float64(now-then), 0) / seconds) }
			in, out, frames = per(x.BytesIn, old.BytesIn), per(x.BytesOut, old.BytesOut), per(x.FramesIn, old.FramesIn)
		}
		note := ""
		if !x.Ready {
			note = "NOT READY"
		}
		t.add(x.Name, strings.Join(x.Addresses, " "), strconv.Itoa(x.Connections), strconv.FormatUint(x.Accepted, 10), strconv.FormatUint(refused, 10),
			size(float64(x.BytesIn)), size(float64(x.BytesOut)), in, out, frames, note)
	}
	return t
}

// former returns a service as it was on the screen before.
func (s *screen) former(name string) (admin.Service, bool) {
	if s.before != nil {
		for _, x := range s.before.services.Services {
			if x.Name == name {
				return x, true
			}
		}
	}
	return admin.Service{}, false
}

// Sequences for a terminal (ECMA-48, and xterm's alternate screen).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // also without a cursor, and without wrapping lines
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// watch shows one screen after the other. The keys are q, to end, and s, for the next order.
func (cmd *Command) watch(ctx context.Context, c *client, f *os.File, every time.Duration) error {
	keys, restore, err := readKeys()
	if err != nil {
		return err
	}
	defer restore()
	io.WriteString(f, enterScreen)
	defer io.WriteString(f, leaveScreen)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	w := &watcher{cmd: cmd, client: c, keys: keys, sorting: cmd.text("sort")}
	for !w.quit {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			width, height = 80, 24
		}
		lines := w.update(ctx, height)
		if w.quit || ctx.Err() != nil {
			return nil
		}
		draw(f, lines, width, height)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case key, ok := <-keys:
			w.press(key, ok)
		}
	}
	return nil
}

// watcher is the state of watch.
type watcher struct {
	cmd     *Command
	client  *client
	keys    <-chan byte
	last    *screen // nil before the first
	sorting string  // of the next screen
	order   int     // of the last key s, in sortings
	quit    bool
}

// press does what a key says; ok is false if there will be no more.
func (w *watcher) press(key byte, ok bool) {
	switch {
	case !ok, key == 'q', key == 3: // Ctrl-C
		w.quit = true
	case key == 's':
		w.order = (w.order + 1) % len(sortings)
		w.sorting = sortings[w.order]
	}
}

// update returns the lines of the next screen. It heeds the keys while it waits for the answers,
// and gives up if one of them means the end.
func (w *watcher) update(ctx context.Context, rows int) []string {
	ctx, cancel := context.WithCancel(ctx)
	var s *screen
	var err error
	done := make(chan struct{})
	w.cmd.flags.Set("sort", w.sorting)
	go func() {
		defer close(done)
		s, err = w.cmd.look(ctx, w.client, rows, w.last)
	}()
	for waits := true; waits && !w.quit; {
		select {
		case <-done:
			waits = false
		case key, ok := <-w.keys:
			w.press(key, ok)
		}
	}
	cancel()
	<-done
	if err != nil {
		return []string{"", noAnswer(err)}
	}
	w.last = s
	lines := s.lines()
	lines[0] += "  sorted by " + w.cmd.text("sort") + "  keys: s order, q quit"
	return lines
}

// noAnswer says in one line why there is nothing to show.
func noAnswer(err error) string {
	return "no answer: " + printable(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// draw writes what fits of the lines.
func draw(w io.Writer, lines []string, width, height int) {
	var b strings.Builder
	b.WriteString(home)
	for i, line := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cut(line, width) + clearLine)
	}
	b.WriteString(clearBelow)
	io.WriteString(w, b.String())
}

// cut returns the first runes of s.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width])
}

// readKeys puts the terminal of stdin into raw mode and sends its keys. If stdin is no terminal,
// there are none.
func readKeys() (keys <-chan byte, restore func(), err error) {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return nil, func() {}, nil
	}
	state, err := term.MakeRaw(in)
	if err != nil {
		return nil, nil, err
	}
	c := make(chan byte)
	go func() { // it ends with the process, or with stdin
		defer close(c)
		for b := make([]byte, 1); ; {
			if _, err := os.Stdin.Read(b); err != nil {
				return
			}
			c <- b[0]
		}
	}()
	return c, func() { term.Restore(in, state) }, nil
}
