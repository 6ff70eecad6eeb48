// Package app puts a process together: it reads the configuration, makes the
// rooms that the process' roles need, joins them, and starts and stops them in
// the right order. It decides nothing itself.
//
// # Roles
//
//	proxy       the edge, and the calls whose clients are connected here
//	dispatcher  campaigns for the lease of every pool, and leads those it holds
//	worker      takes grants and calls the backends
//
// All three in one process is the default. They meet on the bus of
// [fairlane/scheduler/broker], which calls what is in this process directly.
//
// # Start and stop
//
// What others need starts first: the store, the backends' watch, the dispatchers,
// the workers, and the edge last. It ends the other way round, and in two steps.
// Drain refuses: the edge answers 503 to what comes and to what waits, and the
// worker takes no more grants. What runs has until http.shutdown_grace. Then
// everything is told that the process leaves, so that nobody waits for three
// missed beats.
//
// # Reload
//
// SIGHUP, or a change of the file or of the key file, reads the configuration
// anew. Either all of it is taken that may change while the process runs, or, if
// anything in it is wrong, nothing; the log, the status and a metric say so. Keys
// that need a restart are named in the log.
package app
