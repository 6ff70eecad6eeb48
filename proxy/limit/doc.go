// Package limit is the buckets of callers: how limits are written, and the
// arithmetic and the stores of their levels.
package limit
