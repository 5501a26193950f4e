// Command wireline is a line echo server or a TCP proxy, on the framework of the same
// name, and the program to try it with. README.md has a session.
package main
