// Package openai knows the wire: which paths there are, what a request asks
// for, how an answer is framed, and what an error looks like. It imports
// nothing of the house and keeps no state between requests.
//
// A body is looked at once and never decoded into values ([Scan]): what the
// scheduler needs to know is counted on the way, and the byte ranges of the
// top-level fields are kept, so that [Request.Rewrite] changes those fields and
// leaves every other byte alone. The look is strict where two readers could
// otherwise see two requests: invalid UTF-8 is an error everywhere, and so are
// duplicate names in all objects that are read for their members (RFC 8259,
// section 4, leaves both open; RFC 7493 forbids them).
//
// A stream is split into events (WHATWG HTML, section 9.2, "Server-sent
// events") by [Splitter] and passes [StreamFilter], which counts, and changes
// two things only: an `event` key of the backend is dropped, for some clients
// run what is in it, and a usage chunk that nobody but us asked for is taken
// out. A stream that reports its usage has system_fingerprint on the usage chunk,
// and one that does not has it on each chunk with a finish_reason: so the one
// that is taken out gives it to the finish before it, which is held back until
// then. Of several choices (n > 1) only the last to finish has it then: the
// others have gone out as they came, for a client shall not wait for them.
//
// The filter does not parse what it need not. Inside a JSON string a quote is
// always escaped, so the bytes `"name"` can only be a member's name or a whole
// string: most events are dealt with by looking for such bytes. Only where one
// is found is the event walked member by member.
package openai
