// Package fairqueue decides who is served next: hierarchical start-time fair
// queueing in tokens.
package fairqueue
