// Package history keeps the receipts of requests: why each waited, and what it came
// to, for operators who are asked "why did it take so long?".
//
// # Two halves
//
// The edge knows who asked, which rule gave what, and how it ended; the leader of
// the pool knows what was ahead, what was in the way, the attempts and the charge.
// Each half is written by the process that knows it, and joined by the id of the
// call when somebody asks. So no process waits for another one, and nothing about
// receipts goes with a request on its way.
//
// The edge writes its half when a request has ended, and once before, if it is open
// for longer than 2 s: then what waits can be found by its person, too. What the
// leader knows of such a request is asked of it, live.
//
// # The log
//
// Halves gather in memory and are appended to a log that all processes share, once
// a second or when many have gathered, as one compressed piece: a request costs a
// few microseconds beside its way and about 200 bytes. What is appended survives
// kill -9; the last second does not. The log is bounded in age and in bytes, and
// what gathers while the log can't be written is bounded too: then the oldest is
// dropped, and counted. Nothing ever waits for it.
//
// There is no index. A question reads the log: it is asked seldom, and a day of a
// busy installation is read in seconds.
package history
