package khodnevis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
)

// A host's own rule, and its own reaction. They hold over HTTP as well, where a refusal is the
// answer.
func ExampleHooks() {
	stored := make(chan rating.Rating, 1)
	app, err := khodnevis.New(khodnevis.Config{Hooks: khodnevis.Hooks{
		Contents: content.Hooks{BeforeCreate: func(_ context.Context, c content.Content) error {
			if !strings.Contains(c.Title, "BUY") {
				return nil
			}
			refusal := &content.Refusal{Status: 403, Code: "advertisement", Detail: "This is no place for advertisements."}
			refusal.Add("title", "advertisement", "Titles may not have the word BUY.", map[string]any{"word": "BUY"})
			return refusal
		}},
		// in the worker, at least once
		Ratings: rating.Hooks{AfterApply: func(_ context.Context, applied []rating.Rating) error {
			for _, r := range applied {
				stored <- r
			}
			return nil
		}},
	}})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = app.Run(ctx) })

	_, err = app.Contents.Create(ctx, "ana", content.Draft{Title: "BUY NOW"})
	var refusal *content.Refusal
	fmt.Println(errors.As(err, &refusal), refusal.Status, refusal.Detail)

	film, _ := app.Contents.Create(ctx, "ana", content.Draft{Title: "Stalker"})
	_, _ = app.Ratings.Submit(ctx, actor.Actor{User: "ben"}, rating.Submission{Content: film.ID, Score: 5})
	r := <-stored
	fmt.Println(r.Rater, r.Score, r.Result)

	cancel()
	running.Wait()
	// Output:
	// true 403 This is no place for advertisements.
	// ben 5 created
}
