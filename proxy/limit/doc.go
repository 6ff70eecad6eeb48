// Package limit is the buckets of callers: how limits are written ([Parse]), and
// the stores of their levels ([Store]).
//
// # The arithmetic
//
// A limit of N per Period with a burst of B is a bucket that holds B and into
// which N flow back evenly in each Period. "30/minute" is 30 at once and then one
// every 2 s. All that is kept of a bucket is one time: when it will be full again,
// the theoretical arrival time (TAT) of the generic cell rate algorithm (ITU-T
// I.371). With T(c) = c·Period/N, the time in which c flows back:
//
//	used    = max(TAT - now, 0)
//	acquire next = used + T(c); wait = next - T(B)
//	        c > B     never
//	        wait > 0  refused: it would be granted in wait
//	        else      TAT = now + next
//	settle  TAT = now + max(used + T(c), 0)
//
// A TAT that is not after now is a full bucket, and no entry. Of several charges
// all are taken or none, so that a refusal consumes nothing.
//
// In any time of one Period at most B + N - 1 are granted, 2N - 1 without a burst
// of one's own: B at its beginning, and the N that flow back, of which the last is
// whole only when the Period is over.
//
// # Exactness
//
// T(c) is seldom a whole number of nanoseconds, and what is cut off or added each
// time comes back: rounded down, a caller gets more than the limit; rounded up, the
// last of "7/minute" at once is refused for 3 ns. So a time here is nanoseconds and
// a fraction with the denominator N (span), products have 128 bits, and nothing is
// rounded but what is told: a wait and a reset up, what remains down. Parse keeps N
// and B up to 10^12, and Period and T(B) up to a hundred years.
//
// # A limit that changes
//
// What was used keeps the time that it would have taken to flow back, if the period is
// the same: a level is found by the period of its limit, so that of "5/second;
// 100/hour" each part finds its own, in whatever order they stand. A limit with another
// period is another bucket, and full: who has used up 3/minute and gets 180/hour has
// all of that at once, and so once more with every change of the period. To carry over
// what is missing would need the old limit, which no single call knows: its key would
// have to name all limits of a caller, and time is no measure between periods, as a day
// that is used up would be a day of waiting for 30/minute. So whoever lowers a limit
// and wants it to hold from now on leaves the period as it is: 60/hour for 600/hour.
//
// # What Python's limits takes and Parse does not
//
// There 0/minute lets nothing through. Here a limit slows down and locks nobody out, so
// zero is an error that says what does; nor is there a period of 0 minutes. Amounts end
// at 10^12, and a period, and the time in which an empty bucket fills, at a hundred
// years. No text at all is an error there, and here no limit; between separators it is
// an error here, too. The burst is ours alone.
//
// # Memory
//
// [Memory] hashes keys, so that an entry has one size, and is in 64 parts, which an
// acquisition locks in order. Full buckets are swept out. If a flood of callers
// fills it all the same, it forgets, of a sample, who is full soonest, and never
// grows.
//
// # Redis
//
// [Redis] is the store of several processes. One script takes all limits of a
// caller in one round trip, by the server's clock, in whole microseconds and the
// same fraction; it writes only what is granted, and a key expires when its bucket
// is full. The keys of one caller have one hash tag, so that they lie in one slot
// of a cluster; a limit that many share is in a slot of its own, and what one slot
// granted is given back when the other refuses.
//
// A refusal is remembered here for at most a second, unless the limit changes, so
// that who knocks harder costs the server nothing. A server that does not answer
// in 100 ms is left alone, and costs nobody time, until one of the probes, two a
// second, finds it well again. What decides meanwhile is up to whoever asks.
package limit
