// Package testutil has helpers that tests of several packages share. Only tests import it.
// It imports no other package of the module, so that the tests of every package can
// import it.
package testutil
