package natsbus

import "testing"

func TestOrigins(t *testing.T) {
	us, them := newNodeID(), newNodeID()
	ours, theirs := origin{node: us.String()}, origin{node: them.String()}
	seen := newOrigins(us)
	late := theirs.next()
	for range 100 {
		if text := theirs.next(); !seen.isNext(text) || seen.isNext(text) {
			t.Fatalf("%s is to be delivered once", text)
		}
		if seen.isNext(ours.next()) {
			t.Fatal("our own message is delivered")
		}
	}
	if seen.isNext(late) {
		t.Error("an old message is delivered after newer ones")
	}
	for _, foreign := range []string{"", "_INBOX.x", "a.b.c"} {
		if !seen.isNext(foreign) {
			t.Errorf("a message with the reply subject %q is not delivered", foreign)
		}
	}
}
