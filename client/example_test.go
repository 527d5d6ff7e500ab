package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
)

// Put a block into the cell that `holdall serve` started, and get it back.
func Example() {
	c, err := client.Dial(client.Options{}) // 127.0.0.1:7420
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx := context.Background()
	id, err := c.Put(ctx, []byte("immutable bytes"))
	if err != nil {
		log.Fatal(err) // not acknowledged: put it again
	}
	data, err := c.Get(ctx, id) // hashed here: these are the bytes that id names
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", data)
}

// Errors are told apart by their kind.
func ExampleClient_Get() {
	c, err := client.Dial(client.Options{}, "127.0.0.1:7420")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = c.Get(context.Background(), holdall.HashBlock([]byte("never put")))
	switch {
	case errors.Is(err, holdall.ErrNotFound):
		fmt.Println("there is no such block")
	case errors.Is(err, holdall.ErrUnavailable):
		fmt.Println("try again later: it is not lost")
	}
}

// A range of a block goes to a file without being copied on the way.
func ExampleClient_Fetch() {
	c, err := client.Dial(client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	id := holdall.HashBlock([]byte("some large block"))
	b, err := c.Fetch(context.Background(), id, client.GetOptions{Offset: 1 << 20, Length: 64 << 10})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Release()
	if _, err := b.WriteTo(os.Stdout); err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "verified:", b.Verified) // chunks: the server vouches for a range
}

// Upload only what the cell does not have: ask, send what is missing, and
// secure the rest, which a purge might take away in between.
func ExampleClient_Claim() {
	c, err := client.Dial(client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx := context.Background()
	blocks := map[holdall.BlockID][]byte{}
	for _, data := range [][]byte{[]byte("one"), []byte("two")} {
		blocks[holdall.HashBlock(data)] = data
	}
	var ids []holdall.BlockID
	for id := range blocks {
		ids = append(ids, id)
	}
	gone, err := c.Claim(ctx, ids) // an OK for all but those it names
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range gone {
		if _, err := c.Put(ctx, blocks[id]); err != nil {
			log.Fatal(err)
		}
	}
}

// A file of any size becomes an object. Where the connection breaks it is sent
// again, and stored once.
func ExampleClient_PutObject() {
	c, err := client.Dial(client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	f, err := os.Open("film.mkv")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	o, err := c.PutObject(context.Background(), "films", "2026/film.mkv", f, client.PutObjectOptions{
		Attributes: client.Attributes{ContentType: "video/x-matroska"},
		If:         client.Condition{Absent: true},
	})
	if errors.Is(err, holdall.ErrCondition) {
		log.Fatal("there is one of this name")
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(o.Version, o.Size)
}

// An object is read from any place on; a connection that breaks is taken up again
// where it was.
func ExampleClient_OpenObject() {
	c, err := client.Dial(client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	r, err := c.OpenObject(context.Background(), "films", "2026/film.mkv", client.GetObjectOptions{Offset: 1 << 30})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if _, err := r.WriteTo(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// A listing is read page by page, as far as it is looked at.
func ExampleClient_ListObjects() {
	c, err := client.Dial(client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for entry, err := range c.ListObjects(context.Background(), "films", client.ListOptions{Prefix: "2026/", Delimiter: "/"}) {
		switch {
		case err != nil:
			log.Fatal(err)
		case entry.Object != nil:
			fmt.Println(entry.Object.Key, entry.Object.Size)
		default:
			fmt.Println(entry.Prefix)
		}
	}
}
