package main

import (
	"log/slog"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/queue/sqlitequeue"
	"github.com/khodnevis/khodnevis/store/sqlitestore"
)

// backend is the App and what it stands on.
type backend struct {
	app   *khodnevis.App
	close func() error
}

// open opens the data and wires the App. This is the one place that picks adapters.
func open(s settings, log *slog.Logger) (*backend, error) {
	db, err := sqlitestore.Open(s.data)
	if err != nil {
		return nil, err
	}
	q, err := sqlitequeue.New(db.File(), sqlitequeue.Config{})
	if err != nil {
		return nil, closing(db, err)
	}
	app, err := khodnevis.New(khodnevis.Config{
		Store: db, Queue: q, Recalculate: s.recalculate, Logger: log,
		Auth: auth.Config{LimitsOff: s.limits == "off"},
	})
	if err != nil {
		return nil, closing(db, err)
	}
	return &backend{app: app, close: db.Close}, nil
}
