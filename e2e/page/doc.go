// Package page has the tests of the admin page in headless Chromium. It is a module of its own,
// because of what it needs to drive a browser.
package page
