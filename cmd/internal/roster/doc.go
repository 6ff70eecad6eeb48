// Package roster says which backends a pool has at the moment:
//
//	what the configuration lists
//	+ every address of a dns+http:// name, each a backend of its own
//	± what operators changed while it runs
//
// A name is looked up when it appears and every 5 s after that. An address that
// is new becomes a backend at once, with the key and the slots of its entry. One
// that is missing in three answers in a row is taken away: some servers answer with
// a part of what they know, each time another one. A lookup that fails says
// nothing, and nothing is taken away for it; that the name does not exist is an
// answer. What is taken away gets nothing new and finishes what it runs.
//
// What operators change (add, drain, resume, remove) is kept in the store beside
// what the leader learned, so it reaches the other processes within 5 s and stays
// over a restart and over a reload of the file, until an operator takes it back.
// A backend that was added has the key of the pool's first entry: no key is kept
// in the store.
//
//	add     one more backend; one that was removed or drained is back
//	drain   it gets nothing new and finishes what it runs; it stays listed, down
//	resume  it takes requests again
//	remove  the same as drain, and it is forgotten when it has finished
package roster
