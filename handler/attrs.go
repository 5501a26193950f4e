package handler

import (
	"log/slog"
	"slices"
)

// SetAttr puts attributes into the record of the client, such as the id of a device: OnRecord
// and Client.Record see them, and log lines of records have them. An attribute replaces an earlier
// one with its key. Keys should not be those that LogRecords uses itself.
//
// SetAttr may be called until OnRecord is called; later calls do not change the record that it got.
func (c *Client) SetAttr(attrs ...slog.Attr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.endStateLocked()
	all := slices.Clone(e.attrs) // records share the old ones
	for _, a := range attrs {
		i := slices.IndexFunc(all, func(b slog.Attr) bool { return b.Key == a.Key })
		if i < 0 {
			all = append(all, a)
		} else {
			all[i] = a
		}
	}
	e.attrs = all
}
