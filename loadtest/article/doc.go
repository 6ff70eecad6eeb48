// Package article plays the day on which a small GPU was crashed: a script that sends
// a hundred requests in three seconds, a scan without an identity, three colleagues
// who loop over long texts, and five people who each send 100,000 characters at once.
// It sees HTTP only, and says of every part how it was answered.
//
// Behind limits every answer is one of three: 200, 429 for what is too much, and 400
// for what can never fit. Everything else, an error of the connection too, means that
// the server did not stand it.
package article
