package adminctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/pflag"

	"wireline/admin"
)

// ErrUsage is what is wrong with a command line.
var ErrUsage = errors.New("usage")

// filters are the flags of a command that chooses connections, and the names of the parameters of
// the API.
var filters = map[string]string{
	"service":  "of this service",
	"peer":     "from this address or network, such as 10.0.0.0/8",
	"upstream": "relayed to this upstream",
	"state":    "in this state, such as paused",
	"older":    "that have lasted at least this long, such as 10m",
	"idle":     "without a byte for at least this long",
}

// passed are the flags that are not of a command, but of the configuration, and their texts.
var passed = []struct{ name, help string }{
	{"config", "configuration file of the program that runs"},
	{"admin.address", "host:port or unix:PATH of its admin side"},
	{"admin.token", "token that its admin side wants"},
	{"admin.token_file", "file with that token"},
	{"admin.tls.cert", "certificate of its admin side, PEM; no other is accepted"},
	{"admin.tls.key", "private key of that certificate; it is not read"},
}

// Command is a command with its arguments. Parse makes one.
type Command struct {
	// ConfigArgs are the arguments for package config, which loads the configuration that Run is
	// given.
	ConfigArgs []string

	// Usage is set if the command line asks for help alone.
	Usage string

	name  string
	args  []string
	flags *pflag.FlagSet
}

// command says what a command is.
type command struct {
	arguments, help string
	run             func(ctx context.Context, cmd *Command, c *client, w io.Writer) error
	flags           func(*pflag.FlagSet)
}

// commands are the commands by name.
func commands() map[string]command {
	return map[string]command{
		"connections": {"", "list the open connections", listConnections, func(f *pflag.FlagSet) {
			addFilters(f)
			f.String("sort", "id", "id, peer, upstream, state, age, idle, in, out, rate or pending; with - before it, the other order")
			f.Int("limit", 1000, "the most connections in the list")
			f.Bool("json", false, "as JSON")
		}},
		"upstreams": {"[SERVICE NAME [up|drain|down] [weight=N]]", "list the upstreams, or change one", doUpstreams, func(f *pflag.FlagSet) {
			f.Bool("json", false, "as JSON")
		}},
		"kill": {"[SERVICE/ID...]", "end connections", kill, func(f *pflag.FlagSet) {
			addFilters(f)
			f.Bool("reset", false, "reset them, instead of sending what is pending and a FIN")
			f.Bool("json", false, "as JSON")
		}},
		"reload": {"", "make the program read its configuration file again", reload, func(f *pflag.FlagSet) {
			f.Bool("json", false, "as JSON")
		}},
		"top": {"", "show services, upstreams and the busiest connections, and go on doing so in a terminal", top, func(f *pflag.FlagSet) {
			addFilters(f)
			f.String("sort", "-rate", "as of connections")
			f.Duration("every", 2*time.Second, "time between two updates")
		}},
	}
}

func addFilters(f *pflag.FlagSet) {
	for _, name := range slices.Sorted(maps.Keys(filters)) {
		f.String(name, "", "only those "+filters[name])
	}
}

// IsCommand reports whether the program is called with a command.
func IsCommand(name string) bool {
	_, ok := commands()[name]
	return ok
}

// Help lists the commands.
func Help(w io.Writer) {
	all := commands()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(w, "  %-12s %s\n", name, all[name].help)
	}
}

// Parse reads the arguments that follow the name of a command. Its error wraps ErrUsage.
func Parse(name string, args []string) (*Command, error) {
	of := commands()[name]
	cmd := &Command{name: name, flags: pflag.NewFlagSet(name, pflag.ContinueOnError)}
	cmd.flags.SortFlags = false
	cmd.flags.Usage = func() {}
	of.flags(cmd.flags)
	for _, p := range passed {
		cmd.flags.String(p.name, "", p.help)
	}
	if err := cmd.flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		line := strings.TrimSpace("wireline " + name + " " + of.arguments)
		cmd.Usage = fmt.Sprintf("%s: %s\n\n%s", of.help, line, cmd.flags.FlagUsages())
		return cmd, nil
	} else if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUsage, name, err)
	}
	for _, p := range passed {
		if f := cmd.flags.Lookup(p.name); f.Changed {
			cmd.ConfigArgs = append(cmd.ConfigArgs, "--"+p.name+"="+f.Value.String())
		}
	}
	cmd.args = cmd.flags.Args()
	if of.arguments == "" && len(cmd.args) > 0 {
		return nil, fmt.Errorf("%w: %s takes no argument %q", ErrUsage, name, cmd.args[0])
	}
	return cmd, nil
}

// Run does what the command line asks for, and writes to w. cfg says where the admin side is.
func (cmd *Command) Run(ctx context.Context, cfg admin.Config, w io.Writer) error {
	c, err := newClient(cfg)
	if err != nil {
		return err
	}
	defer c.close()
	return commands()[cmd.name].run(ctx, cmd, c, w)
}

func (cmd *Command) text(name string) string { return cmd.flags.Lookup(name).Value.String() }

func (cmd *Command) isSet(name string) bool { return cmd.text(name) == "true" }

// query returns the filter as parameters. A flag that is there with no value is sent too, and
// refused: --peer="$IP" must not mean all clients where IP is not set.
func (cmd *Command) query() url.Values {
	q := make(url.Values)
	for name := range filters {
		if f := cmd.flags.Lookup(name); f.Changed {
			q.Set(name, f.Value.String())
		}
	}
	return q
}

// printJSON writes an answer as JSON. It also escapes the characters above ASCII that could be
// more than text to a terminal.
func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range string(text) {
		if r >= 0x7f && !unicode.IsPrint(r) {
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, u)
			}
			continue
		}
		b.WriteRune(r)
	}
	_, err = io.WriteString(w, b.String()+"\n")
	return err
}

// rateSpan is the time between two looks at the connections, with a bit more than the second over
// which the admin side measures rates.
const rateSpan = 1100 * time.Millisecond

// connections asks for the open connections. If some have no rate yet, it asks once more after a
// second, if again is true.
func (cmd *Command) connections(ctx context.Context, c *client, limit int, again bool) (list admin.Connections, err error) {
	q := cmd.query()
	q.Set("sort", cmd.text("sort"))
	q.Set("limit", strconv.Itoa(limit))
	path := "/api/connections?" + q.Encode()
	if err = c.ask(ctx, "GET", path, nil, &list); err != nil || !again {
		return list, err
	}
	if !slices.ContainsFunc(list.Connections, func(c admin.Connection) bool { return c.Rate == nil }) {
		return list, nil
	}
	select {
	case <-time.After(rateSpan):
	case <-ctx.Done():
		return list, ctx.Err()
	}
	list = admin.Connections{}
	err = c.ask(ctx, "GET", path, nil, &list)
	return list, err
}

func listConnections(ctx context.Context, cmd *Command, c *client, w io.Writer) error {
	limit, err := cmd.flags.GetInt("limit")
	if err != nil {
		return err
	}
	list, err := cmd.connections(ctx, c, limit, true)
	if err != nil {
		return err
	}
	if cmd.isSet("json") {
		return printJSON(w, list)
	}
	if err := connectionTable(list.Connections).print(w); err != nil {
		return err
	}
	if n := len(list.Connections); n < list.Matched {
		_, err = fmt.Fprintf(w, "%d of %d; see --limit\n", n, list.Matched)
	}
	return err
}

func connectionTable(list []admin.Connection) *table {
	t := newTable("CONNECTION", "PEER", "UPSTREAM", "STATE", ">AGE", ">IDLE", ">IN", ">OUT", ">IN/S", ">OUT/S", ">PENDING", "DETAILS")
	for _, c := range list {
		in, out := "", ""
		if c.Rate != nil {
			in, out = size(c.Rate.BytesIn), size(c.Rate.BytesOut)
		}
		t.add(c.Service+"/"+strconv.FormatUint(c.ID, 10), c.Peer, c.Upstream, string(c.State), span(c.AgeS), span(c.IdleS),
			size(float64(c.BytesIn)), size(float64(c.BytesOut)), in, out, size(float64(c.Pending)), details(c))
	}
	return t
}

// details returns what is special about a connection.
func details(c admin.Connection) string {
	var list []string
	for _, j := range c.Joined {
		list = append(list, "key="+j.Key, "rooms="+strconv.Itoa(j.Rooms))
	}
	if c.TLS != nil {
		list = append(list, c.TLS.Version)
		if c.TLS.ServerName != "" {
			list = append(list, "sni="+c.TLS.ServerName)
		}
		if c.TLS.Subject != "" {
			list = append(list, "subject="+c.TLS.Subject)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.Attrs)) {
		list = append(list, key+"="+c.Attrs[key])
	}
	return strings.Join(list, " ")
}

func doUpstreams(ctx context.Context, cmd *Command, c *client, w io.Writer) error {
	if len(cmd.args) > 0 {
		return changeUpstream(ctx, cmd, c)
	}
	var list admin.Upstreams
	if err := c.ask(ctx, "GET", "/api/upstreams", nil, &list); err != nil {
		return err
	}
	if cmd.isSet("json") {
		return printJSON(w, list)
	}
	return upstreamTable(list.Upstreams).print(w)
}

func upstreamTable(list []admin.Upstream) *table {
	t := newTable("SERVICE", "UPSTREAM", "IS", "WANTED", ">WEIGHT", ">CONNECTIONS", ">SERVED", ">FAILED", ">POOL", "SINCE", "WHY")
	for _, u := range list {
		is, since := "up", ""
		if !u.Up {
			is = "DOWN"
		}
		if u.Since != nil {
			since = clock(*u.Since, time.Now())
		}
		t.add(u.Service, u.Name, is, string(u.State), strconv.Itoa(u.Weight), strconv.Itoa(u.Connections), strconv.FormatUint(u.Served, 10),
			strconv.FormatUint(u.Failures, 10), strconv.Itoa(u.PoolIdle), since, u.Err)
	}
	return t
}

// changeUpstream changes the state of an upstream, its weight, or both.
func changeUpstream(ctx context.Context, cmd *Command, c *client) error {
	if len(cmd.args) < 3 {
		return fmt.Errorf("%w: upstreams SERVICE NAME, and up, drain, down or weight=N", ErrUsage)
	}
	body := make(map[string]any)
	for _, arg := range cmd.args[2:] {
		weight, isWeight := strings.CutPrefix(arg, "weight=")
		if !isWeight {
			body["state"] = arg
			continue
		}
		n, err := strconv.Atoi(weight)
		if err != nil {
			return fmt.Errorf("%w: %q is no weight", ErrUsage, weight)
		}
		body["weight"] = n
	}
	return c.ask(ctx, "PUT", "/api/upstreams/"+url.PathEscape(cmd.args[0])+"/"+url.PathEscape(cmd.args[1]), body, nil)
}

// kill ends the connections that are named, or those that the filter means.
func kill(ctx context.Context, cmd *Command, c *client, w io.Writer) error {
	q := cmd.query()
	if (len(q) > 0) == (len(cmd.args) > 0) {
		return fmt.Errorf("%w: kill needs connections, as SERVICE/ID, or a filter such as --peer, and not both", ErrUsage)
	}
	mode := "close"
	if cmd.isSet("reset") {
		mode = "reset"
	}
	q.Set("mode", mode)
	paths := []string{"/api/connections?" + q.Encode()}
	if len(cmd.args) > 0 {
		paths = paths[:0]
	}
	for _, arg := range cmd.args {
		cut := strings.LastIndexByte(arg, '/') // the name of a service may have one
		if cut < 0 {
			return fmt.Errorf("%w: %q is not SERVICE/ID", ErrUsage, arg)
		}
		service, id := arg[:cut], arg[cut+1:]
		paths = append(paths, "/api/connections/"+url.PathEscape(service)+"/"+url.PathEscape(id)+"?mode="+mode)
	}
	ended := 0
	var errs []error
	for _, path := range paths {
		var answer struct{ Ended int }
		errs = append(errs, c.ask(ctx, "DELETE", path, nil, &answer))
		ended += answer.Ended
	}
	if cmd.isSet("json") {
		errs = append(errs, printJSON(w, map[string]int{"ended": ended}))
	} else {
		_, err := fmt.Fprintf(w, "%d ended\n", ended)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// reload makes the program read its configuration again, and prints what has changed.
func reload(ctx context.Context, cmd *Command, c *client, w io.Writer) error {
	var result admin.ReloadResult
	c.http.Timeout = reloadTimeout
	if err := c.ask(ctx, "POST", "/api/reload", nil, &result); err != nil {
		return err
	}
	if cmd.isSet("json") {
		return printJSON(w, result)
	}
	var b strings.Builder
	for _, part := range []struct {
		text  string
		names []string
	}{
		{"changed", result.Changed},
		{"added service", result.Added},
		{"removed service, which drains", result.Removed},
		{"cannot change until a restart", result.Kept},
	} {
		for _, name := range part.names {
			fmt.Fprintf(&b, "%s: %s\n", part.text, printable(name))
		}
	}
	if result.IsEmpty() {
		b.WriteString("nothing has changed\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
