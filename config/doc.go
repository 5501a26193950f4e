// Package config reads the configuration of the wireline program: defaults,
// then a file, then the environment, then flags, each over the one before.
//
//	loaded, err := config.Load(os.Args[1:], os.Environ())
//	if err != nil {
//		fmt.Fprintln(os.Stderr, err) // one problem a line
//		os.Exit(2)
//	}
//	switch loaded.Action {
//	case config.Help:
//		config.Usage(os.Stdout)
//	case config.Print:
//		err = loaded.Print(os.Stdout)
//	case config.Serve:
//		err = tcp.ListenAndServe(&loaded.Config.TCP, h)
//	}
//
// The tags of Config and of the structs in it are the only list of keys. A field tagged
//
//	MaxClients int `config:"max_clients" default:"0" help:"clients at one time"`
//
// in the section tcp makes the key tcp.max_clients, which a file sets as
// max_clients under tcp (or as "tcp.max_clients"), the environment as
// WIRELINE_TCP_MAX_CLIENTS and the command line as --tcp.max_clients. Its
// default, its lines in --help and in --print-config follow from the tags too.
// The option size, as in `config:"max_line,size"`, makes an int a number of
// bytes; the name "-" leaves a field out. The keys of a struct that is tagged
// `config:",inline"` are keys of the section that it is in.
//
// A type with MarshalText and UnmarshalText reads and writes its own values. Its
// option is the kind that --help shows, string if there is none; an error of
// UnmarshalText that is a *field.Error is shown by its Reason.
//
// # Values
//
// The same text means the same in every source: 10 and "10" in a file are the same as 10
// in a variable.
//
//	string    as it is, in UTF-8
//	bool      true or false (or what else strconv.ParseBool knows: 1, 0, t, f)
//	int       a whole number, in decimal
//	number    a decimal number, with an exponent or without
//	duration  10s, 1m30s, 250ms; a number without a unit is refused, except 0;
//	          never negative
//	size      a number of bytes, as 65536, or with KiB, MiB or GiB; KB and K are
//	          refused, because many readers take them for 1000 bytes
//	list      a,b,c, with or without spaces around the commas; in a file also a
//	          real list
//
// A variable that is set to the empty string counts as not set: that happens when a
// script passes on a variable that it does not have. To set an empty string, use a flag
// or the file.
//
// # Strictness
//
// These are errors in every source: a key that does not exist (in the environment, a
// variable that begins with WIRELINE_), a key that is set twice in one file, a key without
// a value, and a value that cannot be read, also if a stronger source sets the key. Keys
// are lower-case. A flag may be repeated; the last one counts. Load reports all errors that
// it finds, each as an *Error.
//
// Variables such as WIRELINE_SERVICE_HOST are not errors: Kubernetes sets them in every
// container for a service whose name begins with "wireline".
package config
