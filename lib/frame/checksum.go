package frame

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrChecksum reports a frame whose checksum is wrong.
var ErrChecksum = errors.New("wrong checksum")

// Checksum names a checksum, as in the catalogue of parametrised CRC algorithms
// (https://reveng.sourceforge.io/crc-catalogue/). The zero value is none.
type Checksum uint8

const (
	NoChecksum Checksum = iota

	// CRC16Modbus is CRC-16/MODBUS: of "123456789" it is 0x4B37.
	CRC16Modbus

	// CRC16CCITTFalse is CRC-16/CCITT-FALSE, also called CRC-16/IBM-3740: of "123456789" it
	// is 0x29B1.
	CRC16CCITTFalse

	// CRC32IEEE is the CRC-32 of Ethernet, gzip and PNG: of "123456789" it is 0xCBF43926.
	CRC32IEEE
)

// Size returns how many bytes the checksum has.
func (s Checksum) Size() int {
	switch s {
	case NoChecksum:
		return 0
	case CRC32IEEE:
		return 4
	}
	return 2
}

// Sum returns the checksum of p.
func (s Checksum) Sum(p []byte) uint32 {
	switch s {
	case CRC16Modbus:
		crc := uint16(0xffff)
		for _, b := range p {
			crc = crc>>8 ^ modbusTable[byte(crc)^b]
		}
		return uint32(crc)
	case CRC16CCITTFalse:
		crc := uint16(0xffff)
		for _, b := range p {
			crc = crc<<8 ^ ccittTable[byte(crc>>8)^b]
		}
		return uint32(crc)
	case CRC32IEEE:
		return crc32.ChecksumIEEE(p)
	}
	return 0
}

// String returns the name in the catalogue.
func (s Checksum) String() string {
	switch s {
	case NoChecksum:
		return "none"
	case CRC16Modbus:
		return "CRC-16/MODBUS"
	case CRC16CCITTFalse:
		return "CRC-16/CCITT-FALSE"
	case CRC32IEEE:
		return "CRC-32"
	}
	return fmt.Sprintf("Checksum(%d)", uint8(s))
}

// The two CRCs of 16 bits have a table each: the CRC of a single byte. MODBUS takes the lowest
// bit first, so its polynomial 0x8005 is mirrored.
var (
	modbusTable = crcTable(func(b byte) uint16 {
		crc := uint16(b)
		for range 8 {
			crc = crc>>1 ^ crc&1*0xa001
		}
		return crc
	})
	ccittTable = crcTable(func(b byte) uint16 {
		crc := uint16(b) << 8
		for range 8 {
			crc = crc<<1 ^ crc>>15*0x1021
		}
		return crc
	})
)

func crcTable(of func(b byte) uint16) *[256]uint16 {
	t := new([256]uint16)
	for i := range t {
		t[i] = of(byte(i))
	}
	return t
}
