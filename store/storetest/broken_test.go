package storetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

// broken are stores that each break one sentence, and the checks that must notice.
var broken = []struct {
	name   string
	of     func(store.Store) store.Store
	checks []string
}{
	{"fails without a reason at what it never takes", func(s store.Store) store.Store { return reasonless{s} },
		[]string{"content/unstorable", "rating/unstorable", "auth/unstorable"}},
	{"keeps half of what it never takes", func(s store.Store) store.Store { return leavesTraces{s} },
		[]string{"content/unstorable", "rating/unstorable", "auth/unstorable"}},
	{"cuts texts at NUL", func(s store.Store) store.Store { return cutting{s} },
		[]string{"content/unstorable", "auth/unstorable"}},
	{"takes only dead letters that are texts", func(s store.Store) store.Store { return textual{s} },
		[]string{"rating/dead-letter-bytes"}},
	{"takes the identifier of a deleted content", func(s store.Store) store.Store { return &retaken{Store: s} },
		[]string{"content/create-taken"}},
	{"trims texts", func(s store.Store) store.Store { return trimming{s} }, []string{"content/texts"}},
	{"returns local times", func(s store.Store) store.Store { return localTimes{s} },
		[]string{"content/create", "content/times"}},
	{"returns a content as often as it is named", func(s store.Store) store.Store { return repeating{s} },
		[]string{"content/by-id"}},
	{"makes a content for each call with a key", func(s store.Store) store.Store { return unkeyed{s} },
		[]string{"content/create-idempotent", "content/create-idempotent-again", "content/create-idempotent-race",
			"content/idempotency-record"}},
	{"lets two callers with one key create", func(s store.Store) store.Store { return &twiceMade{Store: s} },
		[]string{"content/create-idempotent-race", "content/create-idempotent-race-later"}},
	{"keeps the key of what was refused", func(s store.Store) store.Store { return &hastyKey{Store: s} },
		[]string{"content/create-idempotent-refused"}},
	{"keeps the content of a repeated call", func(s store.Store) store.Store { return keptAgain{s} },
		[]string{"content/create-idempotent-again"}},
	{"has one set of keys for all authors", func(s store.Store) store.Store { return sharedKeys{s} },
		[]string{"content/create-idempotent-again", "content/create-idempotent-race"}},
	{"keeps keys for ever", func(s store.Store) store.Store { return eternalKeys{s} },
		[]string{"content/create-idempotent-later", "content/create-idempotent-race-later"}},
	{"gives a key away at the very time", func(s store.Store) store.Store { return earlyKeys{s} },
		[]string{"content/create-idempotent-again"}},
	{"frees the key of a deleted content", func(s store.Store) store.Store { return freedKeys{s} },
		[]string{"content/idempotency-record", "content/create-idempotent-again"}},
	{"sweeps idempotency records at the border", func(s store.Store) store.Store { return lateRecords{s} },
		[]string{"content/idempotency-sweep"}},
	{"sweeps more idempotency records than the limit", func(s store.Store) store.Store { return sweepsAll{s} },
		[]string{"content/idempotency-sweep"}},
	{"updates whatever the version is", func(s store.Store) store.Store { return careless{s} },
		[]string{"content/update-refused", "content/update-race"}},
	{"keeps deleted contents", func(s store.Store) store.Store { return &keeping{Store: s} },
		[]string{"content/delete"}},
	{"lists contents with a gap", func(s store.Store) store.Store { return gap{s} },
		[]string{"content/list", "content/list-moving"}},
	{"begins a page of contents with the last of the page before",
		func(s store.Store) store.Store { return inclusive{s} },
		[]string{"content/list", "content/list-after", "content/list-moving"}},
	{"begins again where the content of a position is gone",
		func(s store.Store) store.Store { return anchored{s} },
		[]string{"content/list-after", "content/list-moving"}},
	{"breaks ties of contents by an ascending identifier always",
		func(s store.Store) store.Store { return oneWayTies{s} }, []string{"content/list-ties"}},
	{"orders titles as a language does", func(s store.Store) store.Store { return caseless{s} },
		[]string{"content/list-title"}},
	{"orders by the whole title", func(s store.Store) store.Store { return wholeTitle{s} },
		[]string{"content/list-title"}},
	{"gives the whole title as a cursor", func(s store.Store) store.Store { return longCursor{s} },
		[]string{"content/cursor"}},
	{"includes the time before which contents match", func(s store.Store) store.Store { return lateBorder{s} },
		[]string{"content/filter-times"}},
	{"finds contents by any of the terms", func(s store.Store) store.Store { return anyTerm{s} },
		[]string{"content/terms"}},
	{"looks at all contents for a page", func(s store.Store) store.Store { return tireless{s} },
		[]string{"content/bound", "rating/bound"}},
	{"ends a list where it has looked at enough rows", func(s store.Store) store.Store { return weary{s} },
		[]string{"content/bound", "rating/bound"}},
	{"finds lists without a filter too broad", func(s store.Store) store.Store { return shy{s} },
		[]string{"content/bound-all", "rating/bound-served"}},
	{"finds whatever has two conditions too broad", func(s store.Store) store.Store { return simple{s} },
		[]string{"content/bound-narrow", "rating/bound-served"}},
	{"counts what lies beyond the bound", func(s store.Store) store.Store { return countsOn{s} },
		[]string{"content/bound-count", "rating/bound-count"}},
	{"counts one less than what is beyond the bound", func(s store.Store) store.Store { return countsShort{s} },
		[]string{"content/bound-count", "rating/bound-count"}},
	{"counts all contents", func(s store.Store) store.Store { return countsAll{s} },
		[]string{"content/count", "content/list"}},
	{"ranks contents without a score last", func(s store.Store) store.Store { return unrankedLast{s} },
		[]string{"across/by-score"}},

	{"drops a change", func(s store.Store) store.Store { return dropping{s} },
		[]string{"rating/outcomes", "rating/history"}},
	{"applies an older version", func(s store.Store) store.Store { return &lastWins{Store: s} },
		[]string{"rating/order", "rating/results"}},
	{"compares offsets of different epochs", func(s store.Store) store.Store { return oneEpoch{s} },
		[]string{"rating/epochs"}},
	{"counts twice", func(s store.Store) store.Store { return &countsTwice{Store: s} }, []string{"rating/repeated"}},
	{"loses counts in a race", func(s store.Store) store.Store { return &lossy{Store: s} }, []string{"rating/race"}},
	{"moves UpdatedAt of an unchanged rating", func(s store.Store) store.Store { return &moving{Store: s} },
		[]string{"rating/unchanged", "rating/history"}},
	{"keeps CreatedAt over a withdrawal", func(s store.Store) store.Store { return &firstRecord{Store: s} },
		[]string{"rating/withdrawn"}},
	{"keeps UpdatedAt over a withdrawal", func(s store.Store) store.Store { return &firstUpdate{Store: s} },
		[]string{"rating/withdrawn-at", "rating/withdrawn"}},
	{"loses what is reassigned", func(s store.Store) store.Store { return &losing{Store: s} },
		[]string{"rating/reassign", "rating/reassign-kept", "rating/reassign-race"}},
	{"reassigns with the time of the withdrawal",
		func(s store.Store) store.Store { return &retimed{Store: s} },
		[]string{"rating/reassign", "rating/reassign-kept"}},
	{"counts what is reassigned as a change", func(s store.Store) store.Store { return &recounted{Store: s} },
		[]string{"rating/reassign"}},
	{"reassigns again what comes again", func(s store.Store) store.Store { return &generous{Store: s} },
		[]string{"rating/reassign-nothing", "rating/reassign-race"}},
	{"reassigns to a rater that the content knows", func(s store.Store) store.Store { return overwriting{s} },
		[]string{"rating/reassign-known"}},
	{"calls every repeated change superseded", func(s store.Store) store.Store { return forgetful{s} },
		[]string{"rating/repeated"}},
	{"sorts outcomes by key", func(s store.Store) store.Store { return sorting{s} }, []string{"rating/outcomes"}},
	{"applies half of a cancelled batch", func(s store.Store) store.Store { return halving{s} },
		[]string{"rating/all-or-nothing"}},
	{"shares histograms with the caller", func(s store.Store) store.Store { return &sharedHistogram{Store: s} },
		[]string{"rating/memory"}},
	{"shares bodies with the caller", func(s store.Store) store.Store { return &sharedBody{Store: s} },
		[]string{"rating/memory"}},
	{"shows ratings of a deleted content until they are swept",
		func(s store.Store) store.Store { return &lingering{Store: s} }, []string{"across/delete-many"}},
	{"counts the rows of deleted contents that are swept",
		func(s store.Store) store.Store { return &lingering{Store: s, hides: true} },
		[]string{"rating/sweep-forgotten"}},
	{"forgets refused on deleted content", func(s store.Store) store.Store { return unrefusing{s} },
		[]string{"across/refused"}},
	{"hides withdrawn ratings from a look at their keys", func(s store.Store) store.Store { return hiding{s} },
		[]string{"rating/by-key", "rating/order"}},
	{"lists ratings with a gap", func(s store.Store) store.Store { return ratingGap{s} },
		[]string{"rating/list", "rating/list-moving"}},
	{"breaks ties of ratings by an ascending key always",
		func(s store.Store) store.Store { return ratingTies{s} }, []string{"rating/list-ties"}},
	{"lists ratings of all contents by content first",
		func(s store.Store) store.Store { return groupedRatings{s} }, []string{"rating/list-all"}},
	{"excludes the upper bound of scores", func(s store.Store) store.Store { return openBound{s} },
		[]string{"rating/list-scores"}},
	{"counts withdrawn ratings", func(s store.Store) store.Store { return countsWithdrawn{s} },
		[]string{"rating/count"}},
	{"leaves the revision", func(s store.Store) store.Store { return oneRevision{s} }, []string{"rating/revision"}},
	{"records the last opening", func(s store.Store) store.Store { return lastHistoryStart{s} },
		[]string{"rating/history-starts"}},
	{"folds the same content twice", func(s store.Store) store.Store { return &computesTwice{Store: s} },
		[]string{"rating/scores-limit"}},
	{"lets two callers claim a content", func(s store.Store) store.Store { return &sharedClaims{Store: s} },
		[]string{"rating/scores-race"}},
	{"hands out buckets in no order", func(s store.Store) store.Store { return unordered{s} },
		[]string{"rating/scores"}},
	{"hands out empty buckets", func(s store.Store) store.Store { return emptyBuckets{s} },
		[]string{"rating/scores", "rating/numbers"}},
	{"folds nothing where there is no rating", func(s store.Store) store.Store { return unasked{s} },
		[]string{"rating/scores-empty"}},
	{"forgets a change during a fold", func(s store.Store) store.Store { return &deaf{Store: s} },
		[]string{"rating/scores-meanwhile"}},
	{"hands out no windows", func(s store.Store) store.Store { return windowless{s} }, []string{"rating/windows"}},
	{"folds nothing for a window", func(s store.Store) store.Store { return lazyWindows{s} },
		[]string{"rating/windows"}},
	{"keeps windows that are removed", func(s store.Store) store.Store { return eternalWindows{s} },
		[]string{"rating/windows", "rating/windows-missing"}},
	{"keeps windows of deleted contents", func(s store.Store) store.Store { return &haunted{Store: s} },
		[]string{"rating/windows-deleted", "across/windows-deleted"}},
	{"marks nothing", func(s store.Store) store.Store { return marksNothing{s} }, []string{"rating/mark"}},
	{"hides when a history opened", func(s store.Store) store.Store { return unopened{s} },
		[]string{"rating/histories"}},
	{"reports drift where there is none", func(s store.Store) store.Store { return alarmist{s} },
		[]string{"rating/recount", "rating/recount-meanwhile"}},
	{"lists rated contents without regard to case", func(s store.Store) store.Store { return caselessIDs{s} },
		[]string{"rating/rated-contents"}},
	{"makes an identity for each call", func(s store.Store) store.Store { return newIdentities{s} },
		[]string{"rating/installation"}},
	{"has an identity with capital letters", func(s store.Store) store.Store { return shouting{s} },
		[]string{"rating/installation"}},
	{"lets the epoch shrink", func(s store.Store) store.Store { return shrinking{s} }, []string{"rating/epoch"}},
	{"gives an epoch to each call", func(s store.Store) store.Store { return &newEpochs{Store: s} },
		[]string{"rating/epoch", "rating/epoch-race"}},
	{"gives an epoch to whoever looks for it", func(s store.Store) store.Store { return givesEpochs{s} },
		[]string{"rating/epoch-known", "rating/epoch-unknown"}},
	{"gives an epoch and says that there is none",
		func(s store.Store) store.Store { return givesEpochsTacitly{s} },
		[]string{"rating/epoch-known", "rating/epoch-unknown"}},
	{"calls the epoch of an unknown stream 0", func(s store.Store) store.Store { return zeroEpochs{s} },
		[]string{"rating/epoch-known", "rating/epoch-unknown"}},
	{"remembers that a stream has no epoch",
		func(s store.Store) store.Store { return &remembersAbsence{Store: s} }, []string{"rating/epoch-known"}},
	{"fails for a stream whose name is not text",
		func(s store.Store) store.Store { return textualStreams{s} }, []string{"rating/epoch-unknown"}},
	{"claims a lease twice", func(s store.Store) store.Store { return &twiceClaimed{Store: s} },
		[]string{"rating/lease", "rating/lease-race"}},
	{"claims a later time during a lease", func(s store.Store) store.Store { return &leaseless{Store: s} },
		[]string{"rating/lease-length"}},
	{"keeps a lease for ever", func(s store.Store) store.Store { return endlessLease{s} },
		[]string{"rating/lease-length"}},
	{"releases whichever lease is claimed", func(s store.Store) store.Store { return &anyRelease{Store: s} },
		[]string{"rating/lease-release"}},
	{"records a dead letter each time", func(s store.Store) store.Store { return &recordsAgain{Store: s} },
		[]string{"rating/dead-letter", "rating/dead-letter-race"}},
	{"gives the number of a removed message again", func(s store.Store) store.Store { return renumbering{s} },
		[]string{"rating/dead-letter-id"}},
	{"sweeps live rows", func(s store.Store) store.Store { return sweepsLive{s} }, []string{"rating/sweep"}},
	{"sweeps more than the limit", func(s store.Store) store.Store { return sweepsAll{s} },
		[]string{"rating/sweep", "auth/sweep"}},

	{"erases no content", func(s store.Store) store.Store { return faithful{s} }, []string{"rating/erase-content"}},
	{"takes ratings of an erased content", func(s store.Store) store.Store { return forgetsOnce{s} },
		[]string{"rating/erase-content"}},
	{"keeps the first erasure of a rater", func(s store.Store) store.Store { return firstErasure{s} },
		[]string{"rating/erasure"}},
	{"leaves out erasures at the very time", func(s store.Store) store.Store { return afterErasure{s} },
		[]string{"rating/erasure", "rating/erasures"}},
	{"records no erasure of a deleted user", func(s store.Store) store.Store { return silentDeletion{s} },
		[]string{"across/erasure"}},
	{"records the erasure of a user before the deletion",
		func(s store.Store) store.Store { return hastyDeletion{s} }, []string{"across/erasure"}},

	{"gives the name of a deleted user away", func(s store.Store) store.Store { return &freeNames{Store: s} },
		[]string{"auth/create-user-taken", "auth/delete-user"}},
	{"renames users", func(s store.Store) store.Store { return &renaming{Store: s} }, []string{"auth/update-user"}},
	{"leaves the sessions that an update of their user ends",
		func(s store.Store) store.Store { return endless{s} }, []string{"auth/update-user-ends"}},
	{"updates users whatever the version is", func(s store.Store) store.Store { return carelessUsers{s} },
		[]string{"auth/update-user-refused", "auth/update-user-race"}},
	{"begins a page of users with the last of the page before",
		func(s store.Store) store.Store { return inclusiveUsers{s} }, []string{"auth/list-users"}},
	{"keeps sessions of deleted users", func(s store.Store) store.Store { return &surviving{Store: s} },
		[]string{"auth/delete-user", "auth/grant-gone"}},
	{"rotates a session twice", func(s store.Store) store.Store { return carelessSessions{s} },
		[]string{"auth/rotate-refused", "auth/rotate-race"}},
	{"forgets the tokens of former generations", func(s store.Store) store.Store { return latestTokens{s} },
		[]string{"auth/rotate"}},
	{"keeps all tokens of a session", func(s store.Store) store.Store { return &hoarding{Store: s} },
		[]string{"auth/rotate-thins"}},
	{"thins out families too", func(s store.Store) store.Store { return thinning{s} }, []string{"auth/rotate-thins"}},
	{"thins out one generation too many", func(s store.Store) store.Store { return hasty{s} },
		[]string{"auth/rotate-thins"}},
	{"hides expired grants", func(s store.Store) store.Store { return strict{s} }, []string{"auth/grant"}},
	{"lists sessions from the oldest", func(s store.Store) store.Store { return oldestFirst{s} },
		[]string{"auth/sessions"}},
	{"deletes the session that is excepted", func(s store.Store) store.Store { return unexcepting{s} },
		[]string{"auth/delete-sessions-filter"}},
	{"sweeps sessions at the border", func(s store.Store) store.Store { return inclusiveSweep{s} },
		[]string{"auth/sweep", "auth/sweep-tokens"}},
}

// TestBroken shows that the suite notices. That the checks pass with a right store, the tests of
// the adapters show.
func TestBroken(t *testing.T) {
	t.Parallel()
	byName := map[string]storetest.Check{}
	for _, c := range storetest.Checks() {
		byName[c.Name] = c
	}
	for _, b := range broken {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range b.checks {
				check, ok := byName[name]
				if !ok {
					t.Fatalf("there is no check %s", name)
				}
				timeout, waits := time.Minute, name == "rating/lease-length"
				if waits { // for a lease that may never end
					timeout = time.Second
				}
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				switch err := check.Run(ctx, b.of(memstore.New(memstore.Config{}))); {
				case err == nil:
					t.Errorf("%s does not notice", name)
				case ctx.Err() != nil && !waits:
					t.Errorf("%s does not end: %v", name, err)
				default:
					t.Logf("%s: %v", name, err)
				}
				cancel()
			}
		})
	}
}
