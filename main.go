package main

import "wireline/internal/app"

// version is set when a release is built, with -ldflags "-X main.version=...".
var version = ""

func main() { app.Main(version) }
