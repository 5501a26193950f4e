package main

import (
	"errors"

	"wireline/handler"
	"wireline/hub"
)

// problem says in the words of users what is wrong.
func problem(err error) string {
	for _, known := range []struct {
		err  error
		text string
	}{
		{hub.ErrTaken, "somebody else has that nickname"},
		{hub.ErrUnknown, "nobody has that nickname"},
		{hub.ErrReplaced, "somebody else has got your nickname"},
		{hub.ErrAway, "the other servers cannot be reached now"},
		{hub.ErrLost, "the other server does not answer; it may have happened nevertheless"},
		{handler.ErrClosed, "that user is just leaving"},
	} {
		if errors.Is(err, known.err) {
			return known.text
		}
	}
	return err.Error()
}
