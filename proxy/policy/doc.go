// Package policy turns who is calling and what they ask for into what they get:
// a class, a weight, bounds, limits.
//
// # The rules
//
// Rules stand in a list. For every key (class, limits, weight, …) the first rule
// from the top that matches the request and sets that key gives its value: so
// one rule may give the class and another, further down, the limits. The last
// rule is built in, matches everything and sets every key. The conditions of a
// rule must all hold; of the list of one condition any value will do.
//
// What a rule sets as `limits` and `tokens` are buckets. A bucket belongs to a
// person and to the rule's name, or else to what its `when` says, so two rules
// with the same `when` have one bucket. With `shared` all who match the rule
// draw from one bucket.
//
// # Sizes
//
// A request that generates is light, medium or heavy: the heaviest row of which
// any condition holds. Its size has a bucket of its own per person, beside the
// person's. A background task has no size, for nobody asked for it; where it is told
// by its prompt alone it has one, with a bucket of its own, for anybody can write such
// a prompt. A request without max_tokens counts as what is expected of its user.
//
// # Limits that follow the load
//
// A rule may let its limits follow the load of the pool that a request goes to. At
// level L of it (in [Query], from -[scheduler.MostLoad], idle, to [scheduler.MostLoad])
// they are F times what is written:
//
//	F = 1 + L/MostLoad · (from - 1)   loaded, L > 0
//	F = 1 - L/MostLoad · (to - 1)     idle, L < 0
//
// in whole numbers and at least 1; the period stays, and the bucket with it. What was
// used keeps the time that it takes to flow back, so that a step neither gives nor
// takes anything but the speed. Whatever the load, a request fits into a bucket into
// which it fits as written. What an administrator set as a quota follows nothing.
//
// # What is no question
//
// A limit of thirty requests means thirty questions. What comes beside them, or in
// many pieces, has buckets of its own, whatever the list of rules is: its limits are
// those of the first rule whose `when` says what it is, by endpoint or by task.
//
//	tokenize and the like            else 600/minute: it needs no GPU
//	embeddings, rerank, score        else 600/minute burst 6000
//	tasks that nobody waits for      else 120/minute
//	the task of proposing the rest   else 120/minute
//
// A document comes as one request for every thousand characters, all at once, and is
// lost with the first that is refused. So ten minutes' worth is let through at once, and
// that many may wait: of max_queued the same holds. Tokens are tokens, of whatever. The
// list of models is answered from memory and has no limit.
//
// # Tasks
//
// Open WebUI asks for titles, tags and follow-up questions beside the chat. Its
// task header says so, and an empty one that it is no task. Where that header is
// missing, the traffic of a forwarder is recognised by the prompt, see [GuessTask].
// Nobody else's is: a person who writes such a prompt to the API means it.
//
// # Nobody
//
// Traffic of a forwarder that carries no identity is many people. It gets a class
// and a weight, but no bucket, no bound on what runs and none on what waits.
//
// A [Policy] never changes: whoever reloads the configuration makes a new one and
// swaps the pointer. [Policy.Decide] walks the list once and allocates nothing
// but its answer.
package policy
