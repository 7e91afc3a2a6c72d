// Package compact passes on what the package proof of v0.0.2 imports under the module's name.
package compact

import "released.invalid/merkle/compact"

// NodeID is that of v0.0.2.
type NodeID = compact.NodeID

// NewNodeID, RangeNodes and RangeSize are those of v0.0.2.
var (
	NewNodeID  = compact.NewNodeID
	RangeNodes = compact.RangeNodes
	RangeSize  = compact.RangeSize
)
