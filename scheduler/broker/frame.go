package broker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"fairlane/scheduler"
)

// frameHead is the length of what comes before the payload: type, fence, seq.
const frameHead = 1 + 12 + 4

var errFrame = errors.New("the frame is malformed")

// brokenOff is the payload of FrameErr.
type brokenOff struct {
	Problem *scheduler.Problem `json:"problem"`
	End     *scheduler.End     `json:"end,omitempty"`
}

// appendFrame writes a frame behind dst.
func appendFrame(dst []byte, f *scheduler.Frame) ([]byte, error) {
	dst = append(dst, byte(f.Type))
	dst = binary.BigEndian.AppendUint32(dst, f.Fence.Bucket)
	dst = binary.BigEndian.AppendUint32(dst, f.Fence.Revision)
	dst = binary.BigEndian.AppendUint32(dst, f.Fence.Attempt)
	dst = binary.BigEndian.AppendUint32(dst, f.Seq)
	switch f.Type {
	case scheduler.FrameData:
		return append(dst, f.Data...), nil
	case scheduler.FrameHead:
		return appendJSON(dst, f.Head)
	case scheduler.FrameEnd:
		return appendJSON(dst, f.End)
	case scheduler.FrameErr:
		return appendJSON(dst, brokenOff{f.Problem, f.End})
	case scheduler.FrameBeat:
		return dst, nil
	default:
		return nil, fmt.Errorf("%w: type %d", errFrame, f.Type)
	}
}

func appendJSON(dst []byte, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	return append(dst, data...), err
}

// decodeFrame reads what appendFrame wrote. The frame keeps data.
func decodeFrame(data []byte) (*scheduler.Frame, error) {
	if len(data) < frameHead {
		return nil, fmt.Errorf("%w: %d bytes", errFrame, len(data))
	}
	f := &scheduler.Frame{
		Type: scheduler.FrameType(data[0]),
		Fence: scheduler.Fence{
			Bucket:   binary.BigEndian.Uint32(data[1:]),
			Revision: binary.BigEndian.Uint32(data[5:]),
			Attempt:  binary.BigEndian.Uint32(data[9:]),
		},
		Seq: binary.BigEndian.Uint32(data[13:]),
	}
	if err := decodePayload(f, data[frameHead:]); err != nil {
		return nil, fmt.Errorf("%w: type %d: %w", errFrame, f.Type, err)
	}
	return f, nil
}

func decodePayload(f *scheduler.Frame, payload []byte) error {
	missing := func(absent bool, err error) error {
		if err == nil && absent {
			return errors.New("it is empty")
		}
		return err
	}
	switch f.Type {
	case scheduler.FrameData:
		f.Data = payload
		return nil
	case scheduler.FrameHead:
		err := json.Unmarshal(payload, &f.Head)
		return missing(f.Head == nil, err)
	case scheduler.FrameEnd:
		err := json.Unmarshal(payload, &f.End)
		return missing(f.End == nil, err)
	case scheduler.FrameErr:
		var b brokenOff
		err := json.Unmarshal(payload, &b)
		f.Problem, f.End = b.Problem, b.End
		return missing(f.Problem == nil, err)
	case scheduler.FrameBeat:
		return nil
	default:
		return errors.New("it is unknown")
	}
}
