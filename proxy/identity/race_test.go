//go:build race

package identity

// million is as many as the race detector has time for.
const million = 50_000
