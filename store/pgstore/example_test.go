package pgstore_test

import (
	"context"
	"log"

	"github.com/khodnevis/khodnevis/store/pgstore"
)

// A program opens the database, brings the tables up to date, and hands the store to khodnevis.New.
func Example() {
	db, err := pgstore.Open("postgres://khodnevis@db.example/app?sslmode=verify-full", pgstore.OpenConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the program ends
	store, err := pgstore.New(db, pgstore.Config{Schema: "ratings"})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
}
