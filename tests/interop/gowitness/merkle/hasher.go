// Package merkle is the released github.com/transparency-dev/merkle v0.0.2 under its own name, for a witness that asks
// for a pre-release which no module proxy has. Only what the witness compiles is passed on; nothing is added but a
// refusal of what v0.0.2 does not have (proof.VerifySubtreeConsistency, behind /sign-subtree, which is never called).
package merkle

import "released.invalid/merkle"

// LogHasher is that of v0.0.2.
type LogHasher = merkle.LogHasher
