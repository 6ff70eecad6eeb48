package history

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"fairlane/scheduler"
)

// mostUnpacked bounds what one piece unpacks to, bytes: 512 halves are a tenth.
const mostUnpacked = 16 << 20

// A piece is lines of JSON, compressed. Its first byte says how.
const pieceVersion = 1

var errPiece = errors.New("it is no piece of a log of receipts")

// packer makes pieces. What it needs for that is large and is kept.
type packer struct {
	out bytes.Buffer
	z   *flate.Writer
}

// pack makes one piece, which is good until the next one.
func (p *packer) pack(halves []*scheduler.Receipt) ([]byte, error) {
	p.out.Reset()
	p.out.WriteByte(pieceVersion)
	if p.z == nil {
		z, err := flate.NewWriter(&p.out, flate.BestSpeed)
		if err != nil {
			return nil, err
		}
		p.z = z
	} else {
		p.z.Reset(&p.out)
	}
	enc := json.NewEncoder(p.z)
	enc.SetEscapeHTML(false)
	for _, r := range halves {
		if err := enc.Encode(r); err != nil {
			return nil, fmt.Errorf("receipt %s: %w", r.CallID, err)
		}
	}
	if err := p.z.Close(); err != nil {
		return nil, err
	}
	return p.out.Bytes(), nil
}

// unpack reads the lines of a piece.
func unpack(piece []byte) ([]byte, error) {
	if len(piece) == 0 || piece[0] != pieceVersion {
		return nil, errPiece
	}
	z := flate.NewReader(bytes.NewReader(piece[1:]))
	lines, err := io.ReadAll(io.LimitReader(z, mostUnpacked+1))
	if err == nil && len(lines) > mostUnpacked {
		err = errPiece
	}
	return lines, err
}
