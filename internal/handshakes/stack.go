package handshakes

// stackRoom is what the first flight of a handshake needs of the stack: computing the key
// exchange X25519MLKEM768 has a frame of 8 KiB.
const stackRoom = 8 << 10

// growStack makes the stack of the goroutine large enough for the first flight, in one step
// and while little is on it. The runtime would do it in two or three, and the last copies all
// that the handshake has put there.
//
//go:noinline
func growStack(i int) byte {
	var room [stackRoom]byte
	return room[i]
}
