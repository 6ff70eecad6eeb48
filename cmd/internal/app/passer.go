package app

import (
	"context"
	"net/http"

	"fairlane/proxy"
	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
)

// passer calls a backend past the queue.
type passer struct{ fleet *vllm.Fleet }

// Pass implements proxy.Passer. It asks one backend after the other until one
// knows an answer: what a response's id stands for lives on one of them.
func (p passer) Pass(ctx context.Context, pool string, call *proxy.Passage) (*http.Response, error) {
	var last error = scheduler.Refusal(scheduler.CodeNoBackend, scheduler.ReasonNoBackend, 0,
		"no model server is up at the moment; please try again in a few seconds")
	backends := p.fleet.Backends(pool)
	for i, b := range backends {
		if !b.Status().Up {
			continue
		}
		resp, err := b.Do(ctx, vllm.Request{Method: call.Method, Path: call.Path, Header: call.Header, Body: call.Body, Priority: -1})
		if err != nil {
			last = err
			continue
		}
		if resp.StatusCode == http.StatusNotFound && i < len(backends)-1 && others(backends[i+1:]) {
			_ = resp.Body.Close() // nothing of it is wanted
			continue
		}
		return resp, nil
	}
	return nil, last
}

// others reports whether another backend can be asked.
func others(bs []*vllm.Backend) bool {
	for _, b := range bs {
		if b.Status().Up {
			return true
		}
	}
	return false
}
