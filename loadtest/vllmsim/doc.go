// Package vllmsim is vLLM without a GPU: its HTTP API in front of the engine of
// [fairlane/scheduler/gpumodel], in real time or faster. By its API it should not
// be told from vLLM 0.32: statuses, error texts, JSON keys, the order of a stream's
// events, what an abort frees, what a full queue answers, the names of its metrics.
//
// # Who owns what
//
// One goroutine, the loop, owns the engine. A handler reads and checks a request,
// makes a job of it (one sequence for each prompt and choice) and hands it to the
// loop. The loop steps the engine and notes in the job what every sequence has
// generated; the handler wakes up and writes. The loop never waits for a handler:
// a slow reader finds several tokens in one event, as it does at vLLM. When the
// client goes away the handler aborts the job, which frees its slots at once.
//
// # Tokens and text
//
// A token is up to four bytes of text, whole runes of UTF-8; markers of the chat
// template are one token each. Its id is these bytes, so that tokens can be turned
// into text again. What is generated are words of three letters and a blank: one
// token each, drawn from the seed, the prompt and the index of the choice. So the
// same request gets the same answer, and counting an answer's bytes counts its
// tokens. JSON (a response format, a tool call) is made from its schema.
//
// An answer that nothing limits ends by itself after 32 to 351 tokens, also drawn
// from the seed. With tool_choice auto a tool is called if the last message is a
// user's and names it.
//
// # How it was checked
//
// testdata holds what a real vLLM answered to some four hundred requests: statuses,
// headers, the texts of errors, the shapes of bodies, the order of events. The tests
// ask the emulator the same, in a bubble of fake time, and, if they are told where a
// real one is, both. What pydantic, FastAPI and Python's json say of a bad body is
// said here in the same words, for the fields that are read.
//
// A job's streams begin with their headers once it is admitted, before there is a
// token, so what goes wrong from then on is told in the stream. Admission counts
// all sequences that are not over, running ones too.
//
// # Differences that remain
//
// Embeddings are hashes. Log probabilities are invented. Images and audio are
// counted, not understood. Fields that are not read are not checked: beams, penalties
// beyond their bounds, adapters. There is no background mode of responses. Metrics of
// Python, of HTTP and of what is not here are missing, and those of requests
// survive a crash. net/http ends the request of a client that closes its sending
// half; uvicorn answers it.
package vllmsim
