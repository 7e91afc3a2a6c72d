// Package proof passes on the consistency check of v0.0.2.
package proof

import (
	"errors"

	"released.invalid/merkle/proof"

	"github.com/transparency-dev/merkle"
)

// VerifyConsistency is that of v0.0.2.
var VerifyConsistency = proof.VerifyConsistency

// VerifySubtreeConsistency is not in v0.0.2; no test of ours asks a witness to sign a subtree.
func VerifySubtreeConsistency(merkle.LogHasher, uint64, uint64, uint64, [][]byte, []byte, []byte) error {
	return errors.New("subtrees are not supported here")
}
