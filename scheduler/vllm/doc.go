// Package vllm speaks to one backend: a vLLM, or anything with its API.
//
// A [Backend] makes calls ([Backend.Do]) and watches the backend's health, its
// models and its metrics ([Backend.Start], [Backend.Status]). Ending the
// context of a call closes its connection, which is how vLLM is told to abort:
// it frees the sequence within milliseconds, streaming or not.
//
// Two properties of vLLM's server shape the transport. It closes idle
// connections after 5 s, so ours are dropped after 4 s, or now and then a
// request would meet a closed one. And it may answer before it has read the
// whole request, so a body is always handed over from memory, never from
// another connection.
//
// A server that restarts closes idle connections too. Such a connection fails
// at once and before a byte of an answer; the request is then sent once more.
// A kept connection that fails later, or a new one, means that the backend had
// the request when it went away.
//
// What is scraped, and under which names, old and new, is in scrape.go.
package vllm
