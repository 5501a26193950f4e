package natsbus

import "github.com/nats-io/nats.go"

// OptionsOf is for Bus.Options of a program that is connected to NATS already. The bus makes a
// connection of its own with the options of nc: to the same servers, with the same credentials and
// TLS. The functions of nc are called for both connections; their argument says for which.
//
// The bus cannot use nc itself: nats.Connect needs some of the bus's options, such as those that
// Bus.Options tells of, and what the program does with its connection would be subject to them.
func OptionsOf(nc *nats.Conn) nats.Option {
	return func(opts *nats.Options) error {
		*opts = nc.Opts
		return nil
	}
}
