package lrucache_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/khodnevis/khodnevis/cache"
	"github.com/khodnevis/khodnevis/cache/lrucache"
)

func Example() {
	ctx := context.Background()
	c := lrucache.New(lrucache.Config{MaxItems: 1000, MaxBytes: 1 << 20})

	err := c.SetMany(ctx, []cache.Item{
		{Key: "average", Value: []byte("4.2"), Version: 7, TTL: time.Minute},
		{Key: "average", Value: []byte("3.9"), Version: 6, TTL: time.Minute}, // late: it does not replace version 7
	})
	if err != nil {
		log.Fatal(err)
	}

	found, err := c.GetMany(ctx, []string{"average", "median"})
	if err != nil {
		log.Fatal(err)
	}
	item, ok := found["average"]
	fmt.Println(ok, string(item.Value), item.Version)
	_, ok = found["median"]
	fmt.Println(ok)
	// Output:
	// true 4.2 7
	// false
}
