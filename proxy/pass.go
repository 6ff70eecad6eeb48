package proxy

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// pass calls a backend past the queue, for what costs no GPU.
func (x *exchange) pass() *scheduler.Problem {
	if !x.s.flight.enter() {
		return x.turnedAway()
	}
	defer x.s.flight.leave()
	p := &Passage{Method: x.route.Method, Header: toBackend(x.r.Header)}
	pools, problem := x.passage(p)
	if problem != nil {
		return problem
	}
	if problem := x.admitPassed(); problem != nil {
		return problem
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), passTimeout)
	defer cancel()
	for i, pool := range pools {
		resp, err := x.s.deps.Passer.Pass(ctx, pool, p)
		if err != nil {
			return asBackendProblem(err)
		}
		if resp.StatusCode == http.StatusNotFound && i < len(pools)-1 {
			_ = resp.Body.Close() // nothing of it is wanted
			continue
		}
		x.rec.pool = pool
		return x.relay(resp)
	}
	return scheduler.Problemf(scheduler.CodeNotFound, "there is no such response")
}

// admitPassed takes a call that goes past the queue from the buckets of such calls.
func (x *exchange) admitPassed() *scheduler.Problem {
	q := policy.Query{Endpoint: x.route.Endpoint, Pool: x.at.pool, Model: x.at.model, Sequences: 1, Passed: true}
	if x.req != nil && x.req.Model != x.at.model {
		q.Alias = x.req.Model
	}
	return x.take(&q, Need{Sequences: 1})
}

// passage fills in path and body and says which pools may know the answer.
func (x *exchange) passage(p *Passage) ([]string, *scheduler.Problem) {
	if x.route.ID != "" {
		p.Path = "/v1/responses/" + url.PathEscape(x.route.ID)
		if x.route.Endpoint == openai.ResponseCancel {
			p.Path += "/cancel"
		}
		if x.r.URL.RawQuery != "" {
			p.Path += "?" + x.r.URL.RawQuery
		}
		return x.s.deps.Catalog().pools(), nil
	}
	if problem := x.read(); problem != nil {
		return nil, problem
	}
	edit := openai.Edit{}
	if x.req.Model != "" || x.route.Endpoint.RequiresModel() {
		edit.Model = x.at.model
	}
	body, err := x.req.Rewrite(edit)
	if err != nil {
		return nil, scanProblem(err)
	}
	p.Path, p.Body = x.r.URL.Path, body
	return []string{x.at.pool}, nil
}

// relay hands the backend's answer on as it comes, so that it takes no memory.
func (x *exchange) relay(resp *http.Response) *scheduler.Problem {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode >= http.StatusInternalServerError {
		return scheduler.Problemf(scheduler.CodeBackendFailed, "the model server answered %d", resp.StatusCode)
	}
	fromBackend(x.header(), resp.Header)
	if n := resp.Header["Content-Length"]; len(n) > 0 {
		x.header()["Content-Length"] = n
	}
	x.rec.outcome = scheduler.Completed
	if resp.StatusCode >= http.StatusBadRequest {
		x.rec.outcome = scheduler.Invalid
	}
	x.rec.status = resp.StatusCode
	x.writeDeadline(time.Now())
	x.w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(x.w, resp.Body); err == nil {
		return nil
	}
	if x.alone() {
		x.left()
		return nil
	}
	x.rec.outcome = scheduler.Failed
	panic(http.ErrAbortHandler) // the client must not take it for whole
}

func asBackendProblem(err error) *scheduler.Problem {
	p := asProblem(err)
	if p.Code == scheduler.CodeInternal {
		return scheduler.Problemf(scheduler.CodeBackendFailed, "the model server could not be asked; please try again")
	}
	return p
}
