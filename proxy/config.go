package proxy

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"time"
)

// Config is the edge's.
type Config struct {
	RecordAsked bool          // receipts say what policy looked at, for a recording
	Listen      string        // e.g. :9000
	TLS         *tls.Config   // nil: plain HTTP
	MaxBody     int64         // bytes of one body; 0: 64 MB
	MaxBytes    int64         // bytes of all bodies that are held; 0: 1 GB
	ReadHeader  time.Duration // 0: 10 s
	ReadBody    time.Duration // 0: 60 s
	Idle        time.Duration // of a kept connection; 0: 120 s
	Grace       time.Duration // for what runs at Stop; 0: 60 s
	CORSOrigins []string      // e.g. https://chat.example.com; * is all
	QueueStatus QueueStatus   // what is shown to who waits
}

const (
	maxHeader   = 64 << 10
	writeWait   = 5 * time.Minute // for a client that reads nothing at all
	passTimeout = 30 * time.Second
)

// WithDefaults is c with the defaults where it says nothing.
func (c Config) WithDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.ReadHeader, 10*time.Second)
	set(&c.ReadBody, time.Minute)
	set(&c.Idle, 2*time.Minute)
	set(&c.Grace, time.Minute)
	if c.MaxBody == 0 {
		c.MaxBody = 64 << 20
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	return c
}

// Validate says what is wrong with c once its defaults are filled in; nil: nothing.
func (c Config) Validate() error {
	if c.MaxBody < 0 || c.MaxBytes < c.MaxBody {
		return fmt.Errorf("queue.max_bytes: %d has to be at least http.max_body, %d", c.MaxBytes, c.MaxBody)
	}
	for _, d := range []time.Duration{c.ReadHeader, c.ReadBody, c.Idle, c.Grace, c.QueueStatus.Heartbeat, c.QueueStatus.After} {
		if d < 0 {
			return fmt.Errorf("http: a duration of %s is impossible", d)
		}
	}
	if c.QueueStatus.Texts != (Texts{}) {
		if err := c.QueueStatus.Texts.validate(); err != nil {
			return err
		}
	}
	for _, o := range c.CORSOrigins {
		if o == "*" {
			continue
		}
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			return fmt.Errorf("http.cors_origins: %q is no origin, expected e.g. https://chat.example.com", o)
		}
	}
	return nil
}
