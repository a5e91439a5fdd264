package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/khodnevis/khodnevis/store/kvstore"
)

// strict is an engine that permits its caller nothing beyond the contract: it runs the function of
// an Update twice, spoils what it handed out when that is no longer valid, and fails when what it
// was given changes, and at writes in a scan and too long keys.
type strict struct{ kvstore.Engine }

var errAgain = errors.New("the function is run again")

func (e strict) View(ctx context.Context, fn func(kvstore.Tx) error) error {
	return e.Engine.View(ctx, func(kv kvstore.Tx) error { return guard(kv, fn) })
}

func (e strict) Update(ctx context.Context, fn func(kvstore.Tx) error) error {
	err := e.Engine.Update(ctx, func(kv kvstore.Tx) error {
		if err := guard(kv, fn); err != nil {
			return err
		}
		return errAgain
	})
	if !errors.Is(err, errAgain) {
		return err
	}
	return e.Engine.Update(ctx, func(kv kvstore.Tx) error { return guard(kv, fn) })
}

func guard(kv kvstore.Tx, fn func(kvstore.Tx) error) error {
	tx := &strictTx{kv: kv}
	err := fn(tx)
	for _, b := range tx.lent {
		spoil(b)
	}
	for i, b := range tx.given {
		if !bytes.Equal(b, tx.were[i]) {
			return fmt.Errorf("what was put as %.40q is %.40q", tx.were[i], b)
		}
	}
	tx.kv = nil
	return err
}

func spoil(b []byte) {
	for i := range b {
		b[i] = 0xaa
	}
}

type strictTx struct {
	kv          kvstore.Tx
	lent        [][]byte // is valid until the function returns
	given, were [][]byte
	scanning    int
}

func (tx *strictTx) Get(key []byte) ([]byte, bool, error) {
	value, ok, err := tx.kv.Get(key)
	value = bytes.Clone(value)
	tx.lent = append(tx.lent, value)
	return value, ok, err
}

func (tx *strictTx) write(key, value []byte) error {
	if tx.scanning > 0 || len(key) == 0 || len(key) > kvstore.MaxKey || len(value) > kvstore.MaxValue {
		return fmt.Errorf(
			"a write of %.40q, %d bytes, with %d bytes within %d scans",
			key,
			len(key),
			len(value),
			tx.scanning,
		)
	}
	tx.given = append(tx.given, key, value)
	tx.were = append(tx.were, bytes.Clone(key), bytes.Clone(value))
	return nil
}

func (tx *strictTx) Put(key, value []byte) error {
	if err := tx.write(key, value); err != nil {
		return err
	}
	return tx.kv.Put(bytes.Clone(key), bytes.Clone(value))
}

func (tx *strictTx) Delete(key []byte) error {
	if err := tx.write(key, nil); err != nil {
		return err
	}
	return tx.kv.Delete(key)
}

func (tx *strictTx) Scan(low, high []byte, descending bool, yield func(key, value []byte) bool) error {
	tx.scanning++
	defer func() { tx.scanning-- }()
	return tx.kv.Scan(low, high, descending, func(key, value []byte) bool {
		key, value = bytes.Clone(key), bytes.Clone(value)
		defer spoil(key)
		defer spoil(value)
		return yield(key, value)
	})
}
