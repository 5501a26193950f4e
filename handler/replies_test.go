package handler_test

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"

	"wireline/handler"
)

// A small reply that is still gathered goes out together with the large one behind it,
// in one write of the poller that ends inside the large one.
func TestLargeReplyBehindSmallOne(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 300<<10)
	synctest.Test(t, func(t *testing.T) {
		h := &handler.Frames{OnFrame: func(c *handler.Client, _ []byte) error {
			io.WriteString(c, "small\n")
			_, err := c.Write(large)
			return err
		}}
		conn, ended := handle(t, h, 100)
		send(t, conn, "\n")
		conn.CloseWrite()
		got, err := io.ReadAll(conn)
		if want := append([]byte("small\n"), large...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("received %d bytes, %v; want %d", len(got), err, len(want))
		}
		conn.Close()
		if r := ended(); r.Reason != handler.ReasonFIN || r.BytesOut != int64(len(large)+6) {
			t.Errorf("record %+v", r)
		}
	})
}
