package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// maildir is a folder of messages, one in each file, as mail readers know it
// (https://cr.yp.to/proto/maildir.html): a message is written to tmp, and moved to new when
// it is complete.
type maildir string

// openMaildir creates the folder if necessary.
func openMaildir(dir string) (maildir, error) {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return "", err
		}
	}
	return maildir(dir), nil
}

// deliver stores m. When it returns nil, the message survives a crash of the system.
func (d maildir) deliver(_ context.Context, m *Message) error {
	name := fmt.Sprintf("%d.%s.localhost", time.Now().Unix(), m.ID)
	tmp, dst := filepath.Join(string(d), "tmp", name), filepath.Join(string(d), "new", name)
	err := writeMessage(tmp, m)
	if err == nil {
		err = os.Rename(tmp, dst)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(dst))
}

// writeMessage writes m to a new file.
func writeMessage(path string, m *Message) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(m.Trace)
	if err == nil {
		_, err = f.Write(m.Data)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes a new name in a folder survive a crash. Windows has no such call.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
