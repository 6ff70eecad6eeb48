// Package chaos kills the parts of a running installation, one after the other
// and two at once, and checks what clients may rely on: a stream that ends with
// [DONE] is exact to the byte, every other ends in an error event, none hangs,
// calls without a byte of an answer are tried again inside, and nothing is left
// in the queue. It is made of real processes over a real NATS server; see its
// test.
package chaos
