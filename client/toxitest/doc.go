// Package toxitest tests package client with a fault injector that others have written, toxiproxy. It
// is a module of its own, so that users of wireline do not depend on that.
package toxitest
