// gowitness runs the witness of transparency-dev (github.com/transparency-dev/witness) on one address: its own
// verification, signing, SQLite persistence and add-checkpoint handler, unmodified. Only this start-up is ours.
//
//	gowitness -listen 127.0.0.1:8100 -db FILE -key FILE VKEY...
//
// key: a file with one private key in Go's note form (PRIVATE+KEY+...), of type 04 for cosignature/v1 or 06 for
// ML-DSA-44. VKEY: the logs it will cosign. It says "listening" once it does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/config"
	"github.com/transparency-dev/witness/persistence/sqlite"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gowitness:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "", "address and port to listen on")
	db := flag.String("db", "", "file of the SQLite database")
	keyFile := flag.String("key", "", "file with the private key")
	flag.Parse()
	raw, err := os.ReadFile(*keyFile)
	if err != nil {
		return err
	}
	signer, err := fnote.NewSignerForCosignatureV1(strings.TrimSpace(string(raw)))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	store, closeStore, err := sqlite.New(ctx, sqlite.Opts{Path: *db})
	if err != nil {
		return err
	}
	defer closeStore()
	for _, vkey := range flag.Args() {
		origin, _, _ := strings.Cut(vkey, "+")
		if err := store.AddLogs(ctx, []config.Log{{VKey: vkey, Origin: origin}}); err != nil {
			return err
		}
	}
	cosigner, err := witness.New(ctx, witness.Opts{
		Persistence: store,
		Signers:     []note.Signer{signer},
		VerifierForLog: func(ctx context.Context, origin string) (note.Verifier, bool, error) {
			log, ok, err := store.Log(ctx, origin)
			if err != nil && strings.Contains(err.Error(), "no rows") {
				return nil, false, nil
			}
			return log.Verifier, ok, err
		},
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(cosigner).AddCheckpoint)
	server := http.Server{Handler: mux, ReadTimeout: 30 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
