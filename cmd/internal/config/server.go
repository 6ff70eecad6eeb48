package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"fairlane/proxy/admin"
	"fairlane/proxy/limit"
	"fairlane/scheduler/broker"
)

// server reads what the process listens on and where its files are.
func (c *Config) server(s *section) {
	c.Listen = ":9000"
	take(s, "listen", &c.Listen, address())
	c.Edge.Listen = c.Listen
	s.in("admin", c.admin)
	s.in("metrics", func(s *section) { take(s, "listen", &c.Admin.MetricsListen, optionally(address())) })
	c.DataDir = "./data"
	take(s, "data_dir", &c.DataDir, checked("the name of a directory", func(s string) bool { return s != "" }))
	s.in("tls", c.tls)
	s.in("http", c.http)
}

func (c *Config) admin(s *section) {
	c.Admin.Listen = "127.0.0.1:9001"
	take(s, "listen", &c.Admin.Listen, address())
	items, _ := s.items("tokens")
	c.Admin.Tokens = make([]admin.Token, len(items))
	names, complete := map[string]bool{}, true
	for i, item := range items {
		t := &c.Admin.Tokens[i]
		take(item, "name", &t.Name, checked("a name", func(s string) bool { return s != "" }))
		take(item, "token", &t.Token, secret())
		t.Role = admin.Viewer
		take(item, "role", (*string)(&t.Role), word(string(admin.Operator), string(admin.Viewer)))
		item.done()
		if !item.has("name") || !item.has("token") {
			s.fault(item.path, "a token needs a name and a token")
			complete = false
		}
		complete = complete && !s.faulty(item.path+".token")
		if names[t.Name] {
			s.fault(item.path+".name", "%q is there twice", t.Name)
		}
		names[t.Name] = true
	}
	if complete {
		_, err := admin.New(admin.Config{Listen: c.Admin.Listen, Tokens: c.Admin.Tokens})
		s.adopt(err)
	}
}

func (c *Config) tls(s *section) {
	file := text()
	take(s, "cert_file", &c.TLS.CertFile, file)
	take(s, "key_file", &c.TLS.KeyFile, file)
	take(s, "client_ca_file", &c.TLS.ClientCAFile, file)
	for _, name := range []*string{&c.TLS.CertFile, &c.TLS.KeyFile, &c.TLS.ClientCAFile} {
		*name = s.reader.path(*name)
	}
	switch {
	case (c.TLS.CertFile == "") != (c.TLS.KeyFile == ""):
		s.fault(s.path, "cert_file and key_file go together, and one of them is missing")
	case c.TLS.ClientCAFile != "" && c.TLS.CertFile == "":
		s.fault(s.path+".client_ca_file", "client certificates need cert_file and key_file")
	}
}

func (c *Config) http(s *section) {
	take(s, "max_body", &c.Edge.MaxBody, size())
	take(s, "read_header", &c.Edge.ReadHeader, positive())
	take(s, "read_body", &c.Edge.ReadBody, positive())
	take(s, "idle", &c.Edge.Idle, positive())
	takeList(s, "cors_origins", &c.Edge.CORSOrigins, text())
	take(s, "shutdown_grace", &c.Edge.Grace, positive())
}

// stores reads where the queue and the buckets are kept.
func (c *Config) stores(s *section) {
	s.in("nats", c.nats)
	s.in("redis", c.redis)
}

func (c *Config) nats(s *section) {
	c.NATS.Replicas, c.NATS.Store = 1, broker.StoreFile
	take(s, "url", &c.NATS.URL, urls("nats://nats:4222", "nats", "tls", "ws", "wss"))
	take(s, "creds_file", &c.NATS.CredsFile, text())
	c.NATS.CredsFile = s.reader.path(c.NATS.CredsFile)
	take(s, "replicas", &c.NATS.Replicas, whole(1, 5))
	take(s, "store", (*string)(&c.NATS.Store), word(string(broker.StoreFile), string(broker.StoreMemory)))
	sync := "interval"
	if take(s, "sync", &sync, word("interval", "always")); sync == "always" {
		c.NATS.SyncAlways = true
		if c.NATS.URL != "" {
			s.warn("nats.sync", "an external NATS syncs as its own configuration says")
		}
	}
	take(s, "encryption_key", &c.NATS.EncryptionKey, secret())
	if c.NATS.EncryptionKey != "" {
		s.warn("nats.encryption_key", "this version does not encrypt its store; it holds no prompts, but who asked when")
	}
	if c.NATS.URL == "" && c.NATS.Replicas > 1 {
		s.fault("nats.replicas", "found %d, expected 1: only an external cluster, named by nats.url, has more", c.NATS.Replicas)
	}
	if c.NATS.URL == "" && c.NATS.CredsFile != "" {
		s.fault("nats.creds_file", "is for an external NATS, and nats.url names none")
	}
}

func (c *Config) redis(s *section) {
	c.Redis.FallbackReplicas = 1
	take(s, "url", &c.Redis.URL, redisURL())
	take(s, "ca_file", &c.Redis.CAFile, text())
	c.Redis.CAFile = s.reader.path(c.Redis.CAFile)
	take(s, "fallback_replicas", &c.Redis.FallbackReplicas, whole(1, 1000))
	if c.Redis.URL == "" && c.Redis.FallbackReplicas != 1 {
		s.warn("redis.fallback_replicas", "is for processes that share a Redis, and redis.url names none: each keeps limits of its own")
	}
	if c.Redis.CAFile != "" && !strings.HasPrefix(c.Redis.URL, "rediss://") {
		s.fault("redis.ca_file", "is for TLS: redis.url begins with rediss:// then")
	}
}

// redisURL names a server, sentinels or a cluster, as limit.Address says.
func redisURL() kind[string] {
	k := optionally(checked("a URL like redis://redis:6379/0", func(s string) bool {
		return limit.Address{URL: s}.Check() == nil
	}))
	k.private, k.show = func(string) bool { return true }, func(s string) string {
		first, rest, more := strings.Cut(s, "?")
		if _, after, ok := strings.Cut(rest, ","); more && ok { // the query may hold a password, too
			first += "," + after
		}
		return redacted(first)
	}
	return k
}

// address is one to listen on.
func address() kind[string] {
	return checked(`an address to listen on, like ":9000" or "127.0.0.1:9000"`, func(s string) bool {
		_, port, err := net.SplitHostPort(s)
		if err != nil {
			return false
		}
		_, err = strconv.ParseUint(port, 10, 16)
		return err == nil
	})
}

// optionally allows nothing, too.
func optionally(k kind[string]) kind[string] {
	parse := k.parse
	k.want += ", or nothing"
	k.parse = func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return parse(s)
	}
	return k
}

// urls are one or several, by commas, or none. They may hold a password, and are
// shown without it.
func urls(like string, schemes ...string) kind[string] {
	k := optionally(checked("a URL like "+like, func(s string) bool {
		for one := range strings.SplitSeq(s, ",") {
			if u := parseURL(strings.TrimSpace(one), schemes...); u == nil {
				return false
			}
		}
		return true
	}))
	k.private, k.show = func(string) bool { return true }, redacted
	return k
}

// parseURL is nil if s is no URL of one of the schemes with a host.
func parseURL(s string, schemes ...string) *url.URL {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	for _, scheme := range schemes {
		if strings.EqualFold(u.Scheme, scheme) {
			return u
		}
	}
	return nil
}

// redacted is a list of URLs without its passwords.
func redacted(s string) string {
	parts := strings.Split(s, ",")
	for i, one := range parts {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil {
			if u.User != nil {
				u.User = url.User("xxxxx")
			}
			parts[i] = u.String()
		} else {
			parts[i] = "(hidden)"
		}
	}
	return strings.Join(parts, ",")
}

// webURL is one of http, or none. It has no place for a password.
func webURL(like string) kind[string] {
	k := optionally(checked("a URL like "+like, func(s string) bool {
		u := parseURL(s, "http", "https")
		return u != nil && u.User == nil
	}))
	k.private = hasUser
	return k
}

// hasUser tells that what should be a URL may hold a password.
func hasUser(raw string) bool { return strings.Contains(raw, "@") }
