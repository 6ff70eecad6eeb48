// Package refusals counts who is refused, over all processes, and tells an
// administrator of those who are refused too often.
//
// Every edge tells all others what it refused, each few seconds and in one piece
// ([Bus]), and hears itself. So each process has the counts of the whole
// installation: for the list of the admin port, and for the alerts. Which process
// tells of somebody is decided by a claim in a store that all share ([Claims]): the
// first wins, and there is one alert at most for a user in a window.
//
// # Counting
//
// A [Tally] counts over the last window, in twelve slots: what is older than the
// window is never counted, and what is younger than eleven twelfths of it always is.
// It holds a fixed number of users. Who comes when it is full takes the place of
// whoever has the fewest refusals, and begins at nothing: a flood of strangers costs
// no memory, and can push out only those who are refused as rarely as they are.
//
// What counts is a 429: what somebody's own limits or bounds refused. What is refused
// because the server is full or away is nobody's fault.
package refusals
