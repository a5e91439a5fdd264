package queuetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/queue/memqueue"
)

var mutants = []mutant{
	{"swaps positions", "positions in order", "became", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return placing(q, func(ps []queue.Position) { slices.Reverse(ps) })
	}},
	{"gives every message one offset", "offsets grow", "has offset 7, the next one 7",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return placing(q, func(ps []queue.Position) {
				for i := range ps {
					ps[i].Offset = 7
				}
			})
		}},
	{"counts down from zero", "offsets are not negative", "offset -1", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return placing(q, func(ps []queue.Position) {
			for i := range ps {
				ps[i].Offset = -ps[i].Offset
			}
		})
	}},
	{"has a stream for each message", "one stream", "has the streams", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return placing(q, func(ps []queue.Position) {
			for i := range ps {
				ps[i].Stream += strings.Repeat("x", i)
			}
		})
	}},
	{"has a space in the stream", "one stream", "stream \"mem", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return placing(q, func(ps []queue.Position) {
			for i := range ps {
				ps[i].Stream = ps[i].Stream[:8] + " "
			}
		})
	}},
	{"loses the header", "round trip", "header", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
			for i := range batch {
				batch[i].Header = nil
			}
			return h(ctx, batch)
		})
	}},
	{"cuts bodies at the first zero byte", "round trip", "body", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
			for i, d := range batch {
				before, _, _ := strings.Cut(string(d.Body), "\x00")
				batch[i].Body = []byte(before)
			}
			return h(ctx, batch)
		})
	}},
	{"takes a thousand messages at most", "largest batch", "publishing 10000 messages",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
				if len(msgs) > 1000 {
					return nil, queue.ErrNotAccepted
				}
				return q.Publish(ctx, msgs...)
			}, nil}
		}},
	{"publishes something when given nothing", "no messages", "must not be there",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
				if len(msgs) == 0 {
					_, err := q.Publish(ctx, queue.Message{Key: "k"})
					return nil, err
				}
				return q.Publish(ctx, msgs...)
			}, nil}
		}},
	{"publishes what is before the invalid message", "invalid messages", "must not be there",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
				if len(msgs) <= queue.MaxBatch {
					for i := range msgs {
						if err := queue.Validate(msgs[i]); err != nil {
							_, _ = q.Publish(ctx, msgs[:i]...)
							return nil, err
						}
					}
				}
				return q.Publish(ctx, msgs...)
			}, nil}
		}},
	{"cuts long keys instead of refusing them", "invalid messages", "too long: got the error <nil>",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
				msgs = slices.Clone(msgs)
				for i, m := range msgs {
					msgs[i].Key = m.Key[:min(len(m.Key), queue.MaxKey)]
				}
				return q.Publish(ctx, msgs...)
			}, nil}
		}},
	{"publishes after the context is done", "publish with a context that is done", "error <nil>",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
				return q.Publish(context.WithoutCancel(ctx), msgs...)
			}, nil}
		}},
	{"hangs when the context is done", "publish with a context that is done", "no answer",
		func(t *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
				if ctx.Err() != nil {
					<-t.Context().Done()
				}
				return q.Publish(ctx, msgs...)
			}, nil}
		}},
	{"reads the publisher's memory later", "memory of the publisher", "as published",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			var kept sync.Map
			return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
				ps, err := q.Publish(ctx, msgs...)
				for i, p := range ps {
					kept.Store(p, msgs[i])
				}
				return ps, err
			}, func(ctx context.Context, limit int, h queue.Handler) error {
				return q.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
					for i, d := range batch {
						if m, ok := kept.Load(d.Position); ok {
							batch[i].Message = m.(queue.Message)
						}
					}
					return h(ctx, batch)
				})
			}}
		}},
	{"delivers again what the handler changed", "memory of the handler", "after a handler changed its batch",
		func(t *testing.T, q *memqueue.Queue) queue.Queue {
			return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
				given := slices.Clone(batch)
				for h(ctx, batch) != nil && pause(t) {
					batch = slices.Clone(given) // the bodies and headers are still the same memory
				}
				return nil
			})
		}},
	{"uses one buffer for all batches", "memory of the handler", "the handler kept",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			buffer := make([]queue.Delivery, queue.MaxBatch)
			return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
				return h(ctx, buffer[:copy(buffer, batch)])
			})
		}},
	{"loses every tenth message", "many publishers", "timed out", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		var n atomic.Int64
		return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
			return h(ctx, slices.DeleteFunc(batch, func(queue.Delivery) bool { return n.Add(1)%10 == 0 }))
		})
	}},
	{"delivers one message's body with all", "many publishers", "became",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
				for i := range batch {
					batch[i].Body = batch[0].Body
				}
				return h(ctx, batch)
			})
		}},
	{"delivers a batch backwards", "order of keys", "was due", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
			slices.Reverse(batch)
			return h(ctx, batch)
		})
	}},
	{"numbers messages before it orders them", "positions under concurrency", "was delivered after offset",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
				ps, err := q.Publish(ctx, msgs...)
				for i := range ps {
					ps[i].Offset ^= 1
				}
				return ps, err
			}, func(ctx context.Context, limit int, h queue.Handler) error {
				return q.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
					for i := range batch {
						batch[i].Offset ^= 1
					}
					return h(ctx, batch)
				})
			}}
		}},
	{"exceeds the limit", "size of batches", "a batch of 8 messages with the limit 7",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				return q.Consume(ctx, limit+1, h)
			}}
		}},
	{"hands over empty batches", "size of batches", "a batch of 0 messages",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
				if err := h(ctx, nil); err != nil {
					return err
				}
				return h(ctx, batch)
			})
		}},
	{"corrects a bad limit", "limit out of bounds", "went on", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
			return q.Consume(ctx, max(1, min(limit, queue.MaxBatch)), h)
		}}
	}},
	{"handles two batches at once", "one batch after the other", "2 batches in flight",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				var both sync.WaitGroup
				for range 2 {
					both.Go(func() { _ = q.Consume(ctx, limit, h) })
				}
				both.Wait()
				return nil
			}}
		}},
	{"waits to fill a batch", "no waiting to fill a batch", "waiting for a single message",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				return q.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
					if len(batch) < limit {
						return errors.New("not yet")
					}
					return h(ctx, batch)
				})
			}}
		}},
	{"swallows errors of the handler", "failed batch comes again", "was due",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
				_ = h(ctx, batch)
				return nil
			})
		}},
	{"returns errors of the handler", "failed batch comes again", "before its context was done",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				ctx, cancel := context.WithCancelCause(ctx)
				_ = q.Consume(ctx, limit, func(hctx context.Context, batch []queue.Delivery) error {
					err := h(hctx, batch)
					if err != nil {
						cancel(err)
					}
					return err
				})
				return context.Cause(ctx)
			}}
		}},
	{"gives up after five failures", "failing never gives up", "was given up",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			var failures atomic.Int64
			return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
				err := h(ctx, batch)
				if err != nil && failures.Add(1) == 5 {
					return nil
				}
				return err
			})
		}},
	{"tries again at once", "pause after a failure", "it came again after",
		func(t *testing.T, q *memqueue.Queue) queue.Queue {
			return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
				for h(ctx, batch) != nil && t.Context().Err() == nil {
				}
				return nil
			})
		}},
	{"leaves out the last message of a failed batch", "every message of a failed batch", "timed out",
		func(t *testing.T, q *memqueue.Queue) queue.Queue {
			return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
				for h(ctx, batch) != nil && pause(t) {
					batch = batch[:max(1, len(batch)-1)]
				}
				return nil
			})
		}},
	{"cancels the handler's context", "context of the handler", "context of the handler is done",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				return q.Consume(ctx, limit, func(_ context.Context, batch []queue.Delivery) error { return h(ctx, batch) })
			}}
		}},
	{"leaves the handler behind", "handler may finish", "while the handler had a batch in flight",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				return q.Consume(ctx, limit, func(hctx context.Context, batch []queue.Delivery) error {
					done := make(chan error, 1)
					go func() { done <- h(hctx, batch) }()
					select {
					case err := <-done:
						return err
					case <-ctx.Done():
						return ctx.Err()
					}
				})
			}}
		}},
	{"forgets what was finished while stopping", "handler may finish", "must not be there",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				return q.Consume(ctx, limit, func(hctx context.Context, batch []queue.Delivery) error {
					return errors.Join(h(hctx, batch), ctx.Err())
				})
			}}
		}},
	{"returns the context's error", "handler may finish", "it must return nil",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				return errors.Join(q.Consume(ctx, limit, h), ctx.Err())
			}}
		}},
	{"empties the queue before it stops", "stop ends the deliveries", "batches were passed on after",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				if ctx.Err() != nil {
					return nil
				}
				return emptying(ctx, q, limit, h)
			}}
		}},
	{"delivers although its context is done", "stop ends the deliveries", "done from the start",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				return emptying(ctx, q, limit, h)
			}}
		}},
	{"ignores the context between retries", "stop ends the retries", "does not end after its context is done",
		func(t *testing.T, q *memqueue.Queue) queue.Queue {
			return handling(q, func(ctx context.Context, batch []queue.Delivery, h queue.Handler) error {
				for h(ctx, batch) != nil && pause(t) {
				}
				return nil
			})
		}},
	{"takes what was in flight when it stopped as finished", "unfinished goes to the next consumer", "was due",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				return q.Consume(ctx, limit, func(hctx context.Context, batch []queue.Delivery) error {
					err := h(hctx, batch)
					if ctx.Err() != nil {
						return nil
					}
					return err
				})
			}}
		}},
	{"starts with the newest", "starts with the oldest", "timed out", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
			skipping, cancel := context.WithCancel(ctx)
			defer cancel()
			if n, err := q.Lag(ctx); err == nil && n > 0 {
				_ = q.Consume(skipping, queue.MaxBatch, func(context.Context, []queue.Delivery) error {
					cancel()
					return nil
				})
			}
			return q.Consume(ctx, limit, h)
		}}
	}},
	{"delivers finished messages to the next consumer", "finished stays finished", "must not be there",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			var mu sync.Mutex
			var last []queue.Delivery
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				mu.Lock()
				again := last
				mu.Unlock()
				if len(again) > 0 {
					_ = h(ctx, again)
				}
				return q.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
					mu.Lock()
					last = batch
					mu.Unlock()
					return h(ctx, batch)
				})
			}}
		}},
	{"delivers everything to everybody", "consumers share the work", "to both consumers",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			var mu sync.Mutex
			var everybody []queue.Handler
			return broken{q, nil, func(ctx context.Context, limit int, h queue.Handler) error {
				mu.Lock()
				everybody = append(everybody, h)
				mu.Unlock()
				return q.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
					mu.Lock()
					hs := slices.Clone(everybody)
					mu.Unlock()
					if len(hs) < 2 {
						return errors.New("wait for the other one")
					}
					for _, h := range hs {
						if err := h(ctx, batch); err != nil {
							return err
						}
					}
					return nil
				})
			}}
		}},
	{"gives a key to two consumers", "a key in flight once", "came to a second consumer",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			var n atomic.Int64
			return broken{q, func(ctx context.Context, msgs ...queue.Message) ([]queue.Position, error) {
				msgs = slices.Clone(msgs)
				for i, m := range msgs {
					msgs[i].Key = string(rune('a'+n.Add(1))) + m.Key
				}
				return q.Publish(ctx, msgs...)
			}, func(ctx context.Context, limit int, h queue.Handler) error {
				return q.Consume(ctx, limit, func(ctx context.Context, batch []queue.Delivery) error {
					for i, d := range batch {
						batch[i].Key = d.Key[1:]
					}
					return h(ctx, batch)
				})
			}}
		}},
	{"counts finished messages", "lag", "want 0", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return &miscounting{Queue: q, count: func(published, _ int64) int64 { return published }}
	}},
	{"does not count what failed", "lag", "want 20", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return &miscounting{Queue: q, count: func(published, delivered int64) int64 { return max(0, published-delivered) }}
	}},
	{"calls every position published", "standing", "the standing of", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return &misplacing{Queue: q, place: func(queue.Position, queue.Standing) queue.Standing { return queue.Published }}
	}},
	{"calls the last position unpublished", "standing", "the standing of",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return &misplacing{Queue: q, place: func(at queue.Position, right queue.Standing) queue.Standing {
				if next, err := q.Locate(context.Background(), "",
					queue.Position{Stream: at.Stream, Offset: at.Offset + 1}); err == nil && next == queue.Unpublished {
					return next
				}
				return right
			}}
		}},
	{"calls deleted what failed", "standing of what waits", "a handler that fails",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			m := &misplacing{Queue: q}
			m.place = func(_ queue.Position, right queue.Standing) queue.Standing {
				if m.delivered.Load() && right == queue.Published {
					return queue.Deleted
				}
				return right
			}
			return m
		}},
	{"does not look at the stream", "standing in another stream", "the standing of",
		func(_ *testing.T, q *memqueue.Queue) queue.Queue {
			return &misplacing{Queue: q, place: func(_ queue.Position, right queue.Standing) queue.Standing {
				if right == queue.Unknown {
					return queue.Published
				}
				return right
			}}
		}},
	{"tells how old the newest is", "age", "younger message", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return &misdating{Queue: q}
	}},
	{"tells the age of finished messages", "age", "want 0s to 0s", func(_ *testing.T, q *memqueue.Queue) queue.Queue {
		return &misdating{Queue: q, finished: true}
	}},
}
