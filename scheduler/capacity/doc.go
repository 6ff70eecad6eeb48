// Package capacity says what fits on the backends of one pool. Pure: time is an
// argument, nothing waits.
package capacity
