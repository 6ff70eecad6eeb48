// Package fairqueue decides who is served next: hierarchical start-time fair
// queueing in tokens. It is pure: no clock, no goroutine, no I/O. Costs are
// arguments, and what fits on a backend is the caller's answer to a question.
//
// # The problem
//
// K sequences run at once. A request takes one slot or more, for as long as it
// generates, and what it costs is known only at its end. Classes have weights,
// users in a class have weights, and one user's requests have an order. Whoever has
// work is to get its weight's part of what is delivered, from the first moment;
// nobody saves up credit by being idle, and nobody starves.
//
// # The unit
//
// A cost is wp·(input − cached) + wc·cached + wq·output tokens ([Weights]), in
// thousandths of a token, and at least one token. Weights are multiples of 2^-20
// between 0.01 and 1000, so sums of them come back to exactly 0. Each node has a
// virtual time V, the cost that it was charged per weight:
//
//	span(c, w) = ⌈c·2^20/w⌉          V += span(new charge, w) − span(old charge, w)
//
// span is monotone and a request is charged by differences of it, so however a
// charge is split, a refund takes back all of it. Clocks that reach 2^61 start
// again near 0, and V saturates at 2^62; one more span still fits an int64.
//
// # The algorithm
//
// A tree: root → class → (group →) user. Each inner node has, for its children, a
// heap of the ready ones by (V, activation), a clock vnow, a fluid clock g, and h,
// which is g without the reserve of whom was served last.
//
//	ready       a user: its head's sequences fit under the head's max_running, or it
//	            runs nothing. An inner node: a child is ready. Others are in no heap.
//	come back   on becoming ready, m the smallest V of those that are:
//	            lift = none ready ? max(vnow, h) : max(vnow, min(h, m + Q))
//	            floor = lift; V = max(V, lift)
//	dispatch    follow the smallest V to a head. The caller says [Take], [Stop],
//	            [Skip], [Bypass] or [Yield]. On the way of who is taken:
//	            vnow = max(vnow, smallest V); charge the reserve
//	charge      V moves; downwards no further than the floor. By the charge, which a
//	            refund makes negative: net = max(vnow, net) + charge/Σ weights of the
//	            children with work; g = max(g, net)
//	progress    charge what exceeds the charge so far
//	settle      charge the actual cost; return the sequences; come back
//	requeue     refund; back at its old place, and no lift if the node had left
//	remove      in flight: refund, return the sequences, come back; waiting: no charge
//	forget      no work, no children, and V ≤ g: what is lost by it is g − h
//
// Q is the mean cost of the requests that were settled, at weight 1. All charges
// of a request are at the weights of its dispatch; a new weight counts from the next.
// A user weighs what its head does, and is bound by what binds that: rules may say
// something else of a chore than of a question, and that must not pass to the others.
//
// # Why each part
//
//   - Half of the expected output is reserved ([Reserve]), for a running request
//     is half served on average. With nothing reserved long outputs grab all slots
//     that become free; with all of max_tokens the error is many times larger.
//   - The lift gives no credit for idling, and V is never lowered by it, so debt
//     stays. The floor keeps a late refund from undoing a lift.
//   - The fluid clock is where somebody who always had work would stand. A stream
//     of newcomers with one request each always has the smallest V, so vnow would
//     stand still, and who was served once before them would never be again. g
//     goes on, and newcomers begin behind who has waited. It may run ahead of all
//     V while reservations are too small; hence the bound m + Q.
//   - g moves by charges, as V does. By deliveries, and never below vnow, it came to
//     lie above the V of somebody who always had work by as much as was ever reserved
//     and not delivered: who asked now and then went behind a mean request of a flood.
//   - h is where the last request began, as in the original: beside a single other
//     one, who comes back has the next slot. The other's V lies behind its reserve.
//   - Who is at its max_running leaves the heap and comes back like one that was
//     idle. Staying in front it would block the others; skipped in place it would
//     hoard credit for the day on which its limit is raised.
//   - A hang-up costs the whole prompt: the prefill was done.
//
// Ties go to who has been ready for longer. Activations are all different, so no
// id is looked at, and the same calls always give the same order.
//
// # What follows
//
// Let Ê be the largest charge at dispatch, δ the largest difference between it and
// the actual cost, Û the largest part of a charge that is not delivered yet, and w
// the smaller weight of siblings f and g which both stay ready, and whom no one
// passes by a bypass.
//
// Siblings: |V_f − V_g| ≤ (Ê + K·δ)/w + Q =: B. Look at the last dispatch below f:
// V_f was the smallest. It put f ahead by at most Ê/w. Since then f may be corrected
// upwards and g downwards only for the requests that were in flight then, K at
// most together, by δ each; what was dispatched below g later adds to V_g on the
// whole. Where f or g came back, it began at m + Q at most, and not before vnow, which
// no V was above when it was served last; or with debt, which only the others'
// service works off.
//
// Service: over any interval |W_f/w_f − W_g/w_g| ≤ 2B + 2K·Û/w, W being what was
// delivered. V_f − V_g changes by 2B at most, V moves by charges, and charged and
// delivered cost differ by K·Û at most, at the beginning and at the end.
//
// Fluid: a request starts within twice the time that it takes on an ideal server,
// which serves all users at once by weight, plus the time for B. While it waits g
// grows as fast as the ideal server serves one that always has work. Until h has
// passed its V by Q, newcomers may go first, at most as much as the ideal server
// would have given them; afterwards they begin behind it. This is an argument and not
// a proof, so the tests hold it against such a server, with newcomers at more
// than full load.
//
// All three are properties in the tests (-rapid.checks=100000 makes it long). A
// plain model without heaps says what every operation does, and the mistakes that
// are easy to make here are each built in and seen by a named test.
//
// # A blocked head
//
// The caller knows why a head does not fit. Blocked by slots ([Stop]): nothing
// passes, and what becomes free is kept for it. Blocked by KV ([Bypass]): other
// heads are asked in order of V, 256 at most, whether they are small enough to pass. A
// class refused by headroom ([Skip]) keeps its place, and the next one is tried.
// Whoever passes, vnow follows the smallest V of the heap, that is of who was passed:
// else all who come later would begin behind those who jumped the queue.
//
// A head that would start away from its cache may let others go first who would
// start where theirs is ([Yield]): heads whose V is at most Q above the smallest on
// every level, 16 at most. Who went is charged, so it costs the head Q at most.
//
// # Tiers
//
// Without tiers there is one level below the root. A tier is such a level of its own,
// with its own clocks, that goes before all tiers after it; those are left a floor φ
// of what is served, so that nothing starves. With D what is owed to those below:
//
//	serve above, c delivered    D += φ·c
//	serve below, c delivered    D −= (1−φ)·c
//	the turn is below's         D > U, U being what is charged and not yet delivered
//	                            of those below that were served because of it
//
// A request counts for a tier only if it went because it was its turn: above while
// somebody below was ready, below while it was owed. Who goes because the others have
// nothing, are at max_running, refused by headroom or blocked by KV has a gift, which
// makes no debt; and what is owed to those who have nothing lapses.
//
// So −Ê ≤ D ≤ K·Ê where reservations are right: when one below starts, D > U, and
// D − (1−φ)·U falls by (1−φ)·Ê at most, and by no delivery. When one above starts, D ≤ U,
// so D + φ·(what is not delivered above) ≤ U + φ·U' ≤ K·Ê, which no delivery raises.
// Each wrong reservation adds δ. Over any interval in which both have work, what is
// delivered below differs from φ of the whole by (2K + 1)·Ê at most: D at both ends, and
// what was in flight at the beginning and did not count.
//
// # Where this differs from a plain reading
//
//   - The lift of one that comes back was max(vnow, m, min(g, m + Q)), g moving by what
//     is delivered. Somebody who asks every three seconds beside 3,000 waiting requests
//     of another class, 64 at once, then waits for 1.5 to 1.7 mean times between two
//     completions, at the median of five seeds each: 45 of 100 times g put it behind m,
//     54 times it lost the tie at m. Now it is 0.63 to 0.75, and 0.7 is the least for
//     whom no slot is kept. All bounds hold as before.
//   - A node that returns by a requeue keeps its old V for one dispatch only, then
//     it is lifted. Else the time that a failed attempt took would be credit for
//     all that has arrived meanwhile.
//   - An inner node is forgotten after its children: what they owe is not lost.
//   - Who is removed in flight (gone before a backend had it, or failed for good) is
//     refunded like that, but its next request comes back with a lift.
//   - A user's requests that ask for it ([Request.Newest]) go before its others, the
//     newest first.
//   - A successor in office gets debts larger than Q ([Queue.Export]), what tiers owe
//     ([Queue.Owed]) and what is in flight ([Queue.Adopt]). The rest is forgiven, as
//     with any coming back.
//
// # Cost of it all
//
// One goroutine owns a [Queue] and its requests. With n siblings and k requests of a
// user, push and remove take O(log k + log n), dispatch, progress and settle the
// same plus one step per leaf of the user; none allocates in flight. Heaps are
// 4-ary and hold copies of the keys. A user's requests are a treap with sums, so
// [Queue.Outlook] takes O(log k) and looks at 64 siblings at most, however many wait.
//
// # Sources
//
// SFQ: Goyal, Vin and Cheng, "Start-time Fair Queuing", SIGCOMM'96. With several
// requests in service, SFQ(D): Jin, Chase and Kaur, "Interposed Proportional Sharing
// for a Storage Service Utility", SIGMETRICS'04. Tokens as the unit, and charging
// while they are generated: Sheng et al., "Fairness in Serving Large Language
// Models" (VTC), OSDI'24. Related: Kubernetes' API priority and fairness, package
// fairqueuing, for requests of unknown duration.
package fairqueue
