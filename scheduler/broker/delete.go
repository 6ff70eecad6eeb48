package broker

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// Delete takes an entry out of the stream, in the background and until JetStream
// says that it is gone. It does not block.
func (s *Stream) Delete(seq uint64) { s.deletes.add(seq) }

// deletion is a request to JetStream, and deletionAnswer what it says: the client
// library keeps of an error only its text.
type deletion struct {
	Seq     uint64 `json:"seq"`
	NoErase bool   `json:"no_erase"`
}

type deletionAnswer struct {
	Error *jetstream.APIError `json:"error"`
}

func (s *Stream) deleteNow(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTry)
	defer cancel()
	data, err := json.Marshal(deletion{Seq: seq, NoErase: true})
	if err != nil {
		return err
	}
	m, err := s.b.nc.RequestWithContext(ctx, jetstream.DefaultAPIPrefix+"STREAM.MSG.DELETE."+s.name, data)
	if err != nil {
		return err
	}
	var answer deletionAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return err
	}
	if e := answer.Error; e != nil && !isGone(e) {
		return e
	}
	return nil
}

// isGone reports whether JetStream says that there is no such message, which the
// file store says in other ways than the memory store: as a failure, in words.
func isGone(e *jetstream.APIError) bool {
	switch e.ErrorCode {
	case codeNotFound, jetstream.JSErrCodeMessageNotFound:
		return true
	case codeDeleteFailed:
		return e.Description == server.ErrStoreMsgNotFound.Error() || e.Description == server.ErrStoreEOF.Error()
	default:
		return false
	}
}

// purgeNow takes out all entries before a sequence.
func (s *Stream) purgeNow(ctx context.Context, before uint64) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTry)
	defer cancel()
	stream, err := s.handle(ctx)
	if err != nil {
		return err
	}
	return stream.Purge(ctx, jetstream.WithPurgeSequence(before))
}
