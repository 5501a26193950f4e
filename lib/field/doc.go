// Package field has the error of a configuration struct whose field holds a
// value that cannot be used. The struct's package reports it by the Go name;
// package config turns that name into the key the user wrote.
package field
