package ratingsonly_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/khodnevis/khodnevis"
	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/examples/adapter/ratingsonly"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store/memstore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

// The whole test of an adapter is the suite.
func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) rating.Store { return ratingsonly.New(memstore.NewEngine()) },
		storetest.Config{})
}

// posts are the host's contents.
type posts []string

// Rateable implements rating.Contents.
func (p posts) Rateable(_ context.Context, ids []string) ([]string, error) {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(p, id) }), nil
}

// members are the host's users.
type members struct{}

// Authenticate implements auth.Authenticator.
func (members) Authenticate(_ context.Context, r *http.Request) (auth.Principal, error) {
	if name := r.Header.Get("X-Member"); name != "" {
		return auth.Principal{Subject: name}, nil
	}
	return auth.Principal{}, auth.ErrNoCredentials
}

func Example() {
	app, err := khodnevis.New(khodnevis.Config{
		Store:         ratingsonly.New(memstore.NewEngine()),
		RatedContents: posts{"post-17"},
		Authenticator: members{},
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()

	ben := actor.Actor{User: "ben"}
	receipt, err := app.Ratings.Submit(ctx, ben, rating.Submission{Content: "post-17", Score: 5})
	if err != nil {
		panic(err)
	}
	task, err := app.Ratings.Wait(ctx, ben, receipt.Task.ID)
	if err != nil {
		panic(err)
	}
	fmt.Println(task.Result.Outcome, "the rating of", receipt.Rating.Content)
	_, err = app.Ratings.Submit(ctx, ben, rating.Submission{Content: "post-18", Score: 5})
	fmt.Println("post-18 is refused:", err != nil)
	cancel()
	if err := <-ended; err != nil {
		panic(err)
	}
	// Output:
	// created the rating of post-17
	// post-18 is refused: true
}

// Without contents and users of its own, a host needs a store that keeps them.
func TestConfigNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := khodnevis.New(khodnevis.Config{Store: ratingsonly.New(memstore.NewEngine())})
	want := "khodnevis: Config.Store does not implement content.Store, and there are no Config.RatedContents\n" +
		"khodnevis: Config.Store does not implement auth.Store, and there is no Config.Authenticator"
	if err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}
