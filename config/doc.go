// Package config reads the configuration of a program into a struct: defaults, then a file, then
// the environment, then flags, each over the one before. The program decides what is in the
// struct: sections of this module, such as tcp.Config and logger.Config, beside its own.
//
//	type Config struct {
//		TCP     tcp.Config    `config:"tcp"`
//		Log     logger.Config `config:"log"`
//		Devices Devices       `config:"devices"`
//	}
//
//	var mine Config
//	loaded, err := config.Load(&mine, config.Options{Name: "gateway", Prefix: "GATEWAY"})
//	if err != nil {
//		fmt.Fprintln(os.Stderr, err) // one problem a line
//		os.Exit(2)
//	}
//	answered, err := loaded.Answer(ctx, os.Stdout, warn) // --help, --check and the like
//	if !answered {
//		err = tcp.ListenAndServe(&mine.TCP, newHandler(mine.Devices))
//	}
//
// # Tags
//
// The tags are the only list of keys. A field tagged
//
//	MaxClients int `config:"max_clients" default:"0" help:"clients at one time"`
//
// in the section tcp makes the key tcp.max_clients, which a file sets as
// max_clients under tcp (or as "tcp.max_clients"), the environment as
// GATEWAY_TCP_MAX_CLIENTS and the command line as --tcp.max_clients. Its
// default, its lines in --help, in --print-config and in Table follow from the tags too.
// The option secret masks a string wherever it would be shown.
// The option size, as in `config:"max_line,size"`, makes an int a number of
// bytes; the option autosize one that may also be auto, which is zero in the field,
// and where the size 0, no limit, is -1. The name "-" leaves a field out. The keys of a struct that is tagged
// `config:",inline"` are keys of the section that it is in.
//
// The tag inherit names the key whose value a key has that no source sets. The tag zero is a
// number that a zero becomes, for fields in which zero means the default: so the user can
// write a zero that means none.
//
// A type with MarshalText and UnmarshalText reads and writes its own values. Its
// option is the kind that --help shows, string if there is none; an error of
// UnmarshalText that is a *field.Error is shown by its Reason.
//
// A field whose type is a map of structs, in the outermost struct, is a section whose sections
// have names of the user's: letters from a to z and digits.
//
//	Services map[string]Service `config:"services" own:"tcp.address" needs:"handler,tcp.address"`
//
// makes the keys services.NAME.tcp.address and so on. If an inline struct of the outermost struct
// has the same type, the members of the map inherit what they do not set from it, but for the keys
// of the tag own: those must be set for each. The environment and flags can add a member that is
// not in the file, if they set the keys of the tag needs.
//
// # Checks
//
// Load calls the method Validate() error of the struct and of each section in it that has one. An
// error of it that is a *field.Error is reported with the key, its source and the value as
// it was written; errors.Join joins several. The field may be in a section below, as in
// "TCP.Address". Loaded.Check calls methods that ask the system.
//
// # Reading again
//
// A program that runs may call Load again, with a new struct: for SIGHUP, by OnReload of a
// tcp.Group, if Loaded.File names a file. Loaded.Changed says which keys have changed, and
// Loaded.Keep gives those that cannot change their old values. Server.Reconfigure and Group.Change of
// package tcp, Reconfigure of handler.Frames and of proxy.Proxy, and Set of a logger.Log apply the
// values without touching a live connection; examples/gateway shows it.
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
// variable that begins with the prefix), a key that is set twice in one file, a key without
// a value, and a value that cannot be read, also if a stronger source sets the key. Keys
// are lower-case. A flag may be repeated; the last one counts. Load reports all errors that
// it finds, each as an *Error.
//
// Variables such as GATEWAY_SERVICE_HOST are not errors: Kubernetes sets them in every
// container for a service whose name begins with "gateway".
package config
