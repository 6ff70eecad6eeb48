package scheduler

import (
	"context"
	"time"
)

// Listed is one request that waits or runs, as the person whose it is may know it.
type Listed struct {
	ID        string        `json:"id"` // of the call
	Model     string        `json:"model"`
	Class     string        `json:"class"`
	Running   bool          `json:"running,omitempty"` // it waits no longer
	Waited    time.Duration `json:"waited"`            // until now, or until it began
	Position  int           `json:"position,omitempty"`
	ETA       time.Duration `json:"eta,omitempty"`        // 0: not known
	NoBackend bool          `json:"no_backend,omitempty"` // it waits, and no backend is up
}

// Lister is a dispatcher that tells what it has of one user.
type Lister interface {
	// List is what runs, and then what waits, who is served first in front; never more
	// than a hundred.
	List(ctx context.Context, user string) ([]Listed, error)
}
