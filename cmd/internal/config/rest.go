package config

import "log/slog"

// rest reads what people see and what is kept of what happened.
func (c *Config) rest(s *section) {
	s.in("queue_status", c.queueStatus)
	c.alerts(s)
	s.in("history", c.history)
	s.in("log", c.log)
	s.in("tracing", c.tracing)
}

func (c *Config) history(s *section) {
	c.History = History{Receipts: day, Usage: 30 * day, Audit: 365 * day}
	take(s, "receipts", &c.History.Receipts, duration(0))
	take(s, "usage", &c.History.Usage, duration(0))
	take(s, "audit", &c.History.Audit, duration(0))
	take(s, "record_arrivals", &c.History.RecordArrivals, flag())
	c.Edge.RecordAsked = c.History.RecordArrivals
	if c.History.Usage != 30*day {
		s.warn(s.path, "this version keeps receipts, the audit and the recording of arrivals: usage has no effect")
	}
}

func (c *Config) log(s *section) {
	c.Log = LogConfig{Format: "json", Level: slog.LevelInfo}
	take(s, "format", &c.Log.Format, word("json", "text"))
	names := []string{"debug", "info", "warn", "error"}
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	k := kind[slog.Level]{want: "debug | info | warn | error", words: names, isText: true, parse: func(s string) (slog.Level, error) {
		level, ok := levels[s]
		if !ok {
			return 0, errNot
		}
		return level, nil
	}, show: func(level slog.Level) string {
		for name, l := range levels {
			if l == level {
				return name
			}
		}
		return level.String()
	}}
	take(s, "level", &c.Log.Level, k)
}

func (c *Config) tracing(s *section) {
	c.Tracing.Sample = 0.01
	take(s, "otlp_endpoint", &c.Tracing.OTLPEndpoint, webURL("http://otel-collector:4318"))
	take(s, "sample", &c.Tracing.Sample, number(0, 1))
	if c.Tracing.OTLPEndpoint != "" {
		s.warn("tracing.otlp_endpoint", "this version sends no traces")
	}
}
