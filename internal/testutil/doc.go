// Package testutil holds what the tests of several packages share. Only tests import it. It
// imports no other package of the module, so that tests inside any package can use it.
package testutil
