package testutil

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// The content types of records (RFC 8446, 5.1).
const (
	AlertRecord     = 21
	HandshakeRecord = 22
	DataRecord      = 23
)

// RecordKeys protects the records of one direction of a TLS 1.3 connection (RFC 8446, 5.2), so
// that a test can send what crypto/tls never sends. It knows TLS_AES_128_GCM_SHA256 only.
type RecordKeys struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// expandLabel is HKDF-Expand-Label (RFC 8446, 7.1) without a context.
func expandLabel(secret []byte, label string, size int) []byte {
	label = "tls13 " + label
	info := append([]byte{byte(size >> 8), byte(size), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), size)
	if err != nil {
		panic(err)
	}
	return out
}

func newRecordKeys(secret []byte) *RecordKeys {
	block, err := aes.NewCipher(expandLabel(secret, "key", 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &RecordKeys{secret: secret, aead: aead, iv: expandLabel(secret, "iv", 12)}
}

// Update changes to the next keys, as both ends do after a KeyUpdate.
func (k *RecordKeys) Update() { *k = *newRecordKeys(expandLabel(k.secret, "traffic upd", 32)) }

// nonce returns the nonce of the next record.
func (k *RecordKeys) nonce() []byte {
	nonce := bytes.Clone(k.iv)
	tail := nonce[len(nonce)-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^k.seq)
	k.seq++
	return nonce
}

// Seal returns the next record.
func (k *RecordKeys) Seal(kind byte, data []byte) []byte {
	inner := append(bytes.Clone(data), kind)
	size := len(inner) + k.aead.Overhead()
	record := []byte{DataRecord, 3, 3, byte(size >> 8), byte(size)}
	return k.aead.Seal(record, k.nonce(), inner, record)
}

// KeyUpdate returns a KeyUpdate, and changes to the next keys.
func (k *RecordKeys) KeyUpdate(requested bool) []byte {
	message := []byte{24, 0, 0, 1, 0}
	if requested {
		message[4] = 1
	}
	record := k.Seal(HandshakeRecord, message)
	k.Update()
	return record
}

// Open reads the next record. After a KeyUpdate it changes to the next keys.
func (k *RecordKeys) Open(r io.Reader) (kind byte, data []byte, err error) {
	header := make([]byte, 5)
	if _, err := io.ReadFull(r, header); err != nil {
		return 0, nil, err
	}
	data = make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(r, data); err != nil {
		return 0, nil, err
	}
	if data, err = k.aead.Open(data[:0], k.nonce(), data, header); err != nil {
		return 0, nil, err
	}
	data = bytes.TrimRight(data, "\x00") // padding
	if len(data) == 0 {
		return 0, nil, errors.New("a record without a type")
	}
	kind, data = data[len(data)-1], data[:len(data)-1]
	if kind == HandshakeRecord && len(data) > 0 && data[0] == 24 {
		k.Update()
	}
	return kind, data, nil
}

// KeyLog is a KeyLogWriter from which the keys of a connection can be had.
type KeyLog struct {
	mu  sync.Mutex
	log strings.Builder
}

// Write implements io.Writer.
func (l *KeyLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

// Keys returns the keys of both directions after the handshake. state is that of the
// connection; its test is skipped if it uses another cipher.
func (l *KeyLog) Keys(t testing.TB, state tls.ConnectionState) (client, server *RecordKeys) {
	t.Helper()
	if state.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("the connection uses %s", tls.CipherSuiteName(state.CipherSuite))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.log.String()) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		secret, err := hex.DecodeString(f[2])
		if err != nil {
			t.Fatal(err)
		}
		switch f[0] {
		case "CLIENT_TRAFFIC_SECRET_0":
			client = newRecordKeys(secret)
		case "SERVER_TRAFFIC_SECRET_0":
			server = newRecordKeys(secret)
		}
	}
	if client == nil || server == nil {
		t.Fatal("the key log has no traffic secrets")
	}
	return client, server
}

// RecordClient is a TLS 1.3 client that writes and reads records by itself. The server has sent
// none after its handshake when HandshakeByHand returns, or they are lost.
type RecordClient struct {
	net.Conn             // carries ciphertext
	Out, In  *RecordKeys // what the client sends, and what it receives
}

// HandshakeByHand makes the handshake of a client that verifies nothing.
func HandshakeByHand(t testing.TB, conn net.Conn) *RecordClient {
	t.Helper()
	log := new(KeyLog)
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: log, MinVersion: tls.VersionTLS13})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := &RecordClient{Conn: conn}
	c.Out, c.In = log.Keys(t, client.ConnectionState())
	return c
}

// Receive reads records until their data is want. It returns how many KeyUpdates came before
// the end of that.
func (c *RecordClient) Receive(t testing.TB, want string) (keyUpdates int) {
	t.Helper()
	got := ""
	for got != want {
		kind, data, err := c.In.Open(c.Conn)
		switch {
		case err != nil:
			t.Fatalf("received %q, then %v; want %q", got, err, want)
		case kind == HandshakeRecord:
			keyUpdates++
		case kind == DataRecord:
			got += string(data)
		}
		if kind == AlertRecord || !strings.HasPrefix(want, got) {
			t.Fatalf("received %q, then a record of type %d with %x; want %q", got, kind, data, want)
		}
	}
	return keyUpdates
}

// KeyUpdates returns n KeyUpdates that all want an answer, and text behind each tenth, as
// crypto/tls does not take many in a row.
func (k *RecordKeys) KeyUpdates(n int, text string) (stream []byte) {
	for i := range n {
		stream = append(stream, k.KeyUpdate(true)...)
		if i%10 == 9 {
			stream = append(stream, k.Seal(DataRecord, []byte(text))...)
		}
	}
	return stream
}

// ReceiveKeyUpdates reads n records, which must be KeyUpdates. It returns n.
func (c *RecordClient) ReceiveKeyUpdates(t testing.TB, n int) int {
	t.Helper()
	for i := range n {
		if kind, data, err := c.In.Open(c.Conn); err != nil || kind != HandshakeRecord {
			t.Fatalf("after %d KeyUpdates of %d: received a record of type %d with %x, %v", i, n, kind, data, err)
		}
	}
	return n
}
