// Package rfc6962 passes on the hasher of v0.0.2.
package rfc6962

import "released.invalid/merkle/rfc6962"

// DefaultHasher is that of v0.0.2.
var DefaultHasher = rfc6962.DefaultHasher
