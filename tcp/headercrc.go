package tcp

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/pires/go-proxyproto"
)

var errChecksum = errors.New("its CRC32C does not match")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// addressSizes are the sizes of the addresses in a header of version 2, by the family in the
// upper half of its byte 13: IPv4, IPv6 and unix (section 2.2). Others have none.
var addressSizes = map[byte]int{1: 12, 2: 36, 3: 216}

// checkChecksum checks the TLV PP2_TYPE_CRC32C of a header of version 2, if it has one. It is
// the CRC32C of the whole header with four zero bytes in its own place (section 2.2.3).
func checkChecksum(b []byte) error {
	for i := fixedSize + addressSizes[b[13]>>4]; i+3 <= len(b); {
		value := i + 3
		next := value + int(binary.BigEndian.Uint16(b[i+1:]))
		if b[i] == byte(proxyproto.PP2_TYPE_CRC32C) {
			if next != value+4 || next > len(b) {
				return errChecksum
			}
			sum := crc32.Update(0, castagnoli, b[:value])
			sum = crc32.Update(sum, castagnoli, make([]byte, 4))
			sum = crc32.Update(sum, castagnoli, b[next:])
			if sum != binary.BigEndian.Uint32(b[value:]) {
				return errChecksum
			}
		}
		i = next
	}
	return nil
}
