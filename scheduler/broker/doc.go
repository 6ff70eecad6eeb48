// Package broker is everything NATS: the server inside the process or the
// connection to one outside, a stream of entries a pool, the lease that makes
// one dispatcher the leader, and the bus on which the roles call each other.
//
// # The stream
//
// Every accepted request is one message in the stream FL_<pool>: headers only,
// on the subject fl.req.<pool>.<class>.<flow>, where flow is base32(sha256(user))
// cut to 16 characters. It is what a new leader rebuilds the queue from. The
// message id is the entry's, so a publish that got no answer is simply repeated:
// within the duplicate window JetStream stores it once. A leader reads the
// stream with an ephemeral consumer that is made anew, behind the last entry
// seen, whenever a sequence is missing or the connection was lost. What is
// published in the leader's own process it hears of when JetStream has
// acknowledged it: to read it back takes four more goroutines and a third of the
// CPU that a request costs here. Where the server is embedded nobody else can
// publish, so there the stream is read once, and then looked through every two
// seconds for entries whose publisher's client left before the acknowledgement, or
// found a leader that had more to hear than it could.
//
// What is done is deleted in the background, until JetStream says that it is not
// there, and in batches: every 50 ms all that lies before the first entry that
// stays goes with one purge, the rest one by one. A file store that is emptied
// gives up its file and begins a new one; after each request that took 180 µs.
//
// # The lease
//
// A key in a bucket whose keys die after TTL. Who creates it leads, and has to
// replace it by compare-and-set before it dies (Gray and Cheriton, "Leases: an
// efficient fault-tolerant mechanism", SOSP'89). Two facts make it safe to trust
// the clock of one machine for one TTL: time is counted from when a renewal was
// sent, which is before NATS started to count; and the leader stops at ¾ of the
// TTL, so clocks may differ in speed by a quarter before two lead at once. What
// remains, a leader that was stopped between looking at its lease and acting, is
// caught by the epoch (bucket created, revision of the creation), the upper part
// of every fence: a proxy never takes an attempt that is older than the one it
// knows. The epoch has the bucket's creation in it so that a NATS that was wiped,
// whose revisions begin at 1 again, still gives out newer fences; and before every
// renewal it is looked at, because the revisions of two buckets may meet. The
// embedded server keeps the bucket in memory: its holder can't be outlived. What a
// key holds names the one lease that wrote it. A write that was applied though its
// answer was lost is known by that, and written anew: else its own key would keep a
// lease waiting until it dies.
//
// # The bus
//
// Roles are found by id. One that is served in this process is called directly;
// bodies and frames are handed over, not copied. Others are reached over core
// NATS, on subjects that no two roles share:
//
//	fl.wk.<worker>.a          grant           request, in order
//	fl.wk.<worker>.c          cancel          request
//	fl.wk.<worker>.m          muster          request
//	fl.wk.all.<pool>.m        muster          publish
//	fl.px.<proxy>.s.<id>      handshake       request
//	fl.px.<proxy>.b.<body>    part of a body  request, 4 at a time
//	fl.px.<proxy>.f.<id>      frame           publish, reply = fl.wk.<worker>.c
//	fl.px.<proxy>.q           notices         publish
//	fl.px.<proxy>.ping        ping            request
//	fl.ds.<pool>.<verb>       report, cancel, beat, where: requests
//
// A frame is type(1) bucket(4) revision(4) attempt(4) seq(4) payload, integers in
// big-endian order. The payload of data is the bytes of the answer; of head, end
// and err it is JSON; a beat has none.
//
// All else is JSON, compressed where it is long. An answer that is an error has
// its name in the header Fl-Error. The answer of a handshake is the body, with the
// verdict in the header Fl-Handover; a body over 512 KB stays behind, under a
// token, and its parts of 256 KB are asked for by their offsets.
//
// What may take its time is answered beside the goroutine that reads the
// subscription, reports in order for each worker. A frame to a proxy that is gone
// comes back to the worker's cancels as the server's word that nobody is there; it
// names no call, so it cancels nothing: the worker's ping finds out.
//
// While the connection is down nothing is buffered: a stale frame or grant has
// to fail, not to arrive late.
package broker
