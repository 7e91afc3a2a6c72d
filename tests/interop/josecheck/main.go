// josecheck verifies a receipt with go-jose, an unmodified JOSE library: josecheck JWKS RECEIPT prints the signed payload.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/go-jose/go-jose/v4"
)

func main() {
	payload, err := verify(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(payload)
}

func verify(keysPath, receiptPath string) ([]byte, error) {
	raw, err := os.ReadFile(keysPath)
	if err != nil {
		return nil, err
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &keys); err != nil {
		return nil, err
	}
	receipt, err := os.ReadFile(receiptPath)
	if err != nil {
		return nil, err
	}
	signed, err := jose.ParseSignedCompact(string(receipt), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, err
	}
	found := keys.Key(signed.Signatures[0].Protected.KeyID)
	if len(found) != 1 || !found[0].Valid() || !found[0].IsPublic() {
		return nil, fmt.Errorf("the set has not exactly one valid public key of this kid")
	}
	return signed.Verify(found[0].Key)
}
