package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMaildir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "mail")
	d, err := openMaildir(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{ID: "ID", Trace: "Received: x\r\n", Data: []byte("hello\r\n")}
	if err := d.deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, dir); len(got) != 1 || got[0] != "Received: x\r\nhello\r\n" {
		t.Errorf("stored %q", got)
	}
	if _, err := openMaildir(dir); err != nil {
		t.Errorf("opened a second time: %v", err)
	}
}

// If a message cannot be stored, nothing of it is left.
func TestMaildirFails(t *testing.T) {
	dir := t.TempDir()
	d, err := openMaildir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	if err := d.deliver(t.Context(), &Message{ID: "ID"}); err == nil {
		t.Error("no error although the folder is gone")
	}
	if got := stored(t, dir); len(got) > 0 {
		t.Errorf("stored %q", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "tmp")); err != nil {
		t.Fatal(err)
	}
	if err := d.deliver(t.Context(), &Message{ID: "ID"}); err == nil {
		t.Error("no error although tmp is gone")
	}
}
