package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

const (
	maxFrame = 256 << 10 // bytes of one data frame
	readSize = 4 << 10   // bytes of one read of a stream: as much as the transport buffers
	maxWhole = 8 << 20   // bytes of an answer that is read whole before it is handed on
	maxTail  = 16 << 10  // bytes of the end of a larger answer in which usage is looked for

	bytesPerToken = 4 // of an answer whose tokens nobody counted
)

// answer deals with whatever the backend said.
func (a *attempt) answer(resp *http.Response, h *scheduler.Handover, idle time.Duration) scheduler.Event {
	switch {
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented:
		return a.serverError(resp)
	case resp.StatusCode < http.StatusBadRequest && resp.StatusCode != http.StatusOK:
		return a.faulted(false, a.failure(fmt.Sprintf("it answered %d, which is no answer to this", resp.StatusCode)))
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		p := scheduler.Problemf(scheduler.CodeBackendFailed, "the model server refused fairlane's credential (%d); the administrator has to set pools[].backends[].api_key", resp.StatusCode)
		return scheduler.Event{Kind: scheduler.EventFault, Problem: p}
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && media == "text/event-stream" && resp.StatusCode == http.StatusOK {
		return a.stream(resp, h, idle)
	}
	return a.whole(resp)
}

// whole reads the answer to its end before it hands it on. What is larger than
// fits is handed on as it comes.
func (a *attempt) whole(resp *http.Response) scheduler.Event {
	body, err := a.w.buffers.readAll(io.LimitReader(resp.Body, maxWhole))
	if err != nil {
		return a.broken(err)
	}
	if a.garbage(resp, body) {
		return a.faulted(false, a.failure("its answer is no JSON"))
	}
	endpoint := openai.Endpoint(a.grant.Entry.Endpoint)
	u, known := openai.UsageOf(endpoint, body) // before it belongs to the proxy
	said := 0
	if resp.StatusCode == http.StatusOK && endpoint.Generates() && u.Output == 0 {
		said = (openai.TextOf(body) + bytesPerToken - 1) / bytesPerToken
	}
	var tail []byte // of an answer that goes on
	if len(body) == maxWhole {
		tail = keepLast(nil, body)
	} else {
		resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	a.firstByte.Store(true)
	if err := a.out.head(a.head(resp)); err != nil {
		return a.broken(err)
	}
	err = a.out.data(body)
	if err == nil && tail != nil {
		tail, err = a.rest(resp.Body, tail)
		u, known = openai.UsageOf(endpoint, tail)
	}
	if err != nil {
		return a.brokenOff(err, a.usage(u, known, said))
	}
	outcome := scheduler.Completed
	if resp.StatusCode >= http.StatusBadRequest {
		outcome = scheduler.Invalid
	}
	return a.finish(a.usage(u, known, said), outcome)
}

// garbage is a 200 of a JSON endpoint that is not JSON, or not all of it.
func (a *attempt) garbage(resp *http.Response, body []byte) bool {
	if resp.StatusCode != http.StatusOK || strings.HasPrefix(a.grant.Entry.Path, "/v1/audio/") || len(body) == maxWhole {
		return false
	}
	body = bytes.TrimSpace(body)
	return !enclosed(body, '{', '}') && !enclosed(body, '[', ']')
}

func enclosed(b []byte, from, to byte) bool {
	return len(b) > 1 && b[0] == from && b[len(b)-1] == to
}

// rest hands on what did not fit, and returns the last of it: usage is there.
// tail is the last of what went before.
func (a *attempt) rest(body io.Reader, tail []byte) ([]byte, error) {
	for {
		chunk := bytes.NewBuffer(make([]byte, 0, maxFrame+bytes.MinRead))
		_, err := io.CopyN(chunk, body, maxFrame) // tells the end from a break, which io.ReadFull does not
		tail = keepLast(tail, chunk.Bytes())
		if sendErr := a.out.data(chunk.Bytes()); sendErr != nil {
			return tail, sendErr
		}
		if errors.Is(err, io.EOF) {
			return tail, nil
		}
		if err != nil {
			return tail, err
		}
	}
}

// keepLast keeps the last maxTail bytes of tail and b.
func keepLast(tail, b []byte) []byte {
	b = b[max(0, len(b)-maxTail):]
	drop := max(0, len(tail)+len(b)-maxTail)
	return append(append(make([]byte, 0, maxTail), tail[drop:]...), b...)
}

func (a *attempt) head(resp *http.Response) *scheduler.Head {
	return &scheduler.Head{Status: resp.StatusCode, Header: resp.Header, Backend: a.backend.Host(), Attempt: a.grant.Try}
}

// firstContent notes when the answer's first content came and tells it.
func (a *attempt) firstContent() {
	a.firstByte.Store(true)
	a.report.add(scheduler.Event{ID: a.grant.Entry.ID, Fence: a.grant.Fence, Kind: scheduler.EventFirstByte, Backend: a.grant.Backend, Sent: true, TTFT: time.Since(a.sentAt)})
}
