// Package field has the error for a field of a configuration struct whose value cannot
// be used. The package of the struct reports the Go name of the field; package config
// replaces it by the key in the configuration. Switch is a type of such fields.
package field
