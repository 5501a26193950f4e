// Package protocol has the frames that devices and the gateway send each other. All but Conn is pure,
// without I/O: the gateway, the simulator and the tests use it alike.
//
//	| A5 5A | length | type | sequence | payload | CRC |
//	|   2   |   2    |  1   |    4     |  0 ...  |  2  |
//
// Numbers are big-endian. The length counts the type, the sequence and the payload. The CRC is
// CRC-16/CCITT-FALSE of everything between the marker and the CRC. Package frame finds and checks
// all of that: see Codec. A Message is what is between the length and the CRC.
package protocol
