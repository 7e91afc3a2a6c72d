// gocheck looks at a Sayso log with nothing but other people's code: transparency-dev/tessera (client and fsck),
// transparency-dev/formats and merkle, and golang.org/x/mod/sumdb (note and tlog), each unmodified.
//
//	gocheck log -url http://127.0.0.1:8081/logs/x -origin example.com/log -vkey ... -size 600
//	gocheck note FILE VKEY...
//
// It exits 1 and says why at the first thing that one of them does not accept.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gocheck:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "log" {
		return checkLog(args[1:])
	}
	if len(args) > 2 && args[0] == "note" {
		return openNote(args[1], args[2:])
	}
	return fmt.Errorf("usage: gocheck log -url URL -origin ORIGIN -vkey VKEY -size N | gocheck note FILE VKEY...")
}

// openNote opens one signed note; every key given must have signed it (formats knows the types 01 and 04, not 06).
func openNote(path string, vkeys []string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var verifiers []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := fnote.NewVerifier(vkey)
		if err != nil {
			return fmt.Errorf("verifier key: %w", err)
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(raw, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != len(vkeys) {
		return fmt.Errorf("%d of %d keys have signed", len(opened.Sigs), len(vkeys))
	}
	fmt.Printf("note: %d signatures verified\n", len(opened.Sigs))
	return nil
}

func checkLog(args []string) error {
	flags := flag.NewFlagSet("log", flag.ContinueOnError)
	rawURL := flags.String("url", "", "prefix of the log")
	origin := flags.String("origin", "", "origin line of the log")
	vkey := flags.String("vkey", "", "verifier key of the log")
	size := flags.Uint64("size", 0, "size that the checkpoint must state")
	if err := flags.Parse(args); err != nil {
		return err
	}
	prefix, err := url.Parse(*rawURL)
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(prefix, nil)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(*vkey)
	if err != nil {
		return fmt.Errorf("verifier key: %w", err)
	}

	// 1. Checkpoint: signature, origin, size.
	ctx := context.Background()
	checkpoint, _, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, verifier, *origin)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if checkpoint.Size != *size {
		return fmt.Errorf("checkpoint: size is %d, expected %d", checkpoint.Size, *size)
	}
	fmt.Printf("checkpoint: size %d, signature verified\n", checkpoint.Size)

	// 2. Every entry and every tile, recomputed from the entries.
	if err := fsck.New(*origin, verifier, fetcher, leafHashes, fsck.Opts{N: 2}).Check(ctx); err != nil {
		return fmt.Errorf("tessera fsck: %w", err)
	}
	fmt.Println("tessera fsck: all tiles and entries verified")
	if *size == 0 {
		return nil
	}

	// 3. Inclusion and consistency proofs out of the tiles, by two unrelated clients.
	indexes, olds := probes(*size)
	if err := proveWithTessera(ctx, fetcher, checkpoint.Hash, *size, indexes); err != nil {
		return fmt.Errorf("tessera client: %w", err)
	}
	fmt.Printf("tessera client: %d inclusion proofs verified\n", len(indexes))
	if err := proveWithSumdb(ctx, fetcher, checkpoint.Hash, *size, indexes, olds); err != nil {
		return fmt.Errorf("sumdb tlog: %w", err)
	}
	fmt.Printf("sumdb tlog: %d inclusion and %d consistency proofs verified\n", len(indexes), len(olds))
	return nil
}

// probes picks places at the edges of tiles and of the tree, each once: indexes below size, older sizes above 0.
func probes(size uint64) (indexes, olds []uint64) {
	seen := map[uint64]bool{}
	for _, at := range []uint64{0, 1, 254, 255, 256, 257, size / 3, size / 2, size - 2, size - 1, size &^ 255, 65535, 65536} {
		if at < size && !seen[at] {
			seen[at] = true
			indexes = append(indexes, at)
			if at > 0 {
				olds = append(olds, at)
			}
		}
	}
	return indexes, append(olds, size)
}

func leafHashes(raw []byte) ([][]byte, error) {
	bundle := api.EntryBundle{}
	if err := bundle.UnmarshalText(raw); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range bundle.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func readEntry(ctx context.Context, fetcher *client.HTTPFetcher, index, size uint64) ([]byte, error) {
	bundle, err := client.GetEntryBundle(ctx, fetcher.ReadEntryBundle, index/256, size)
	if err != nil {
		return nil, err
	}
	if index%256 >= uint64(len(bundle.Entries)) {
		return nil, fmt.Errorf("entry %d is not in its bundle of %d", index, len(bundle.Entries))
	}
	return bundle.Entries[index%256], nil
}

func proveWithTessera(ctx context.Context, fetcher *client.HTTPFetcher, root []byte, size uint64, indexes []uint64) error {
	builder, err := client.NewProofBuilder(ctx, size, fetcher.ReadTile)
	if err != nil {
		return err
	}
	for _, index := range indexes {
		entry, err := readEntry(ctx, fetcher, index, size)
		if err != nil {
			return err
		}
		hashes, err := builder.InclusionProof(ctx, index)
		if err != nil {
			return err
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(entry)
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf, hashes, root); err != nil {
			return fmt.Errorf("index %d: %w", index, err)
		}
	}
	return nil
}

func proveWithSumdb(ctx context.Context, fetcher *client.HTTPFetcher, root []byte, size uint64, indexes, olds []uint64) error {
	tree := tlog.Tree{N: int64(size), Hash: tlog.Hash(root)}
	// TileHashReader checks every tile it reads against the root before it uses a hash of it.
	reader := tlog.TileHashReader(tree, tileReader{ctx, fetcher})
	for _, index := range indexes {
		entry, err := readEntry(ctx, fetcher, index, size)
		if err != nil {
			return err
		}
		hashes, err := tlog.ProveRecord(tree.N, int64(index), reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(hashes, tree.N, tree.Hash, int64(index), tlog.RecordHash(entry)); err != nil {
			return fmt.Errorf("index %d: %w", index, err)
		}
	}
	for _, old := range olds {
		oldRoot, err := tlog.TreeHash(int64(old), reader)
		if err != nil {
			return err
		}
		hashes, err := tlog.ProveTree(tree.N, int64(old), reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(hashes, tree.N, tree.Hash, int64(old), oldRoot); err != nil {
			return fmt.Errorf("from size %d: %w", old, err)
		}
	}
	recomputed, err := tlog.TreeHash(tree.N, reader)
	if err != nil {
		return err
	}
	if !bytes.Equal(recomputed[:], root) {
		return fmt.Errorf("the tiles have another root than the checkpoint")
	}
	return nil
}

// tileReader gives sumdb/tlog the tiles of a C2SP log; only the paths differ from a checksum database's.
type tileReader struct {
	ctx     context.Context
	fetcher *client.HTTPFetcher
}

func (r tileReader) Height() int { return tileHeight }

func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		// uint8(256) is 0, which is how tessera asks for a full tile.
		data, err := r.fetcher.ReadTile(r.ctx, uint64(tile.L), uint64(tile.N), uint8(tile.W))
		if err != nil {
			return nil, err
		}
		// A full tile may answer for a partial one that is gone.
		if wanted := tile.W * tlog.HashSize; len(data) > wanted {
			data = data[:wanted]
		}
		all = append(all, data)
	}
	return all, nil
}

func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
