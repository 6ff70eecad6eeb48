package config

import (
	"maps"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlane/scheduler"
)

// backendVariable names the only backend of a pool that lists none.
const backendVariable = "VLLM_URL"

func newPool(name string) Pool {
	return Pool{
		Name: name, Models: []string{}, Aliases: map[string]string{}, Adaptive: true, PassPriority: true, PrefixAffinity: true,
		Cost:     scheduler.DefaultCost(),
		Timeouts: Timeouts{Connect: 2 * time.Second, FirstByte: 2 * time.Minute, Total: 30 * time.Minute, Idle: time.Minute},
	}
}

// pools reads the pools and where their backends are.
func (c *Config) pools(s *section) {
	items, given := s.items("pools")
	if !given {
		items = []*section{s.below(nil, "pools[0]")}
	}
	if len(items) == 0 {
		s.fault("pools", "the list is empty, and at least one pool is needed")
	}
	c.Pools = make([]Pool, len(items))
	places := map[string]string{} // of backends
	names := map[string]bool{}
	for i, item := range items {
		p := &c.Pools[i]
		*p = newPool("")
		if len(items) == 1 {
			p.Name = "main"
		}
		p.read(item)
		p.backends(item, places)
		item.done()
		switch {
		case p.Name == "" && !item.has("name"):
			s.fault(item.path, "name is missing: where there are several pools each needs one")
		case p.Name != "" && names[p.Name]:
			s.fault(item.path+".name", "there are two pools %q", p.Name)
		}
		names[p.Name] = true
	}
	c.sharedNames(s)
}

// read reads everything but the backends.
func (p *Pool) read(s *section) {
	take(s, "name", &p.Name, plainName())
	takeList(s, "models", &p.Models, checked("the name of a model", func(s string) bool { return s != "" }))
	takeTable(s, "aliases", &p.Aliases, checked("the name of a model", func(s string) bool { return s != "" }))
	take(s, "adaptive", &p.Adaptive, flag())
	take(s, "target_itl", &p.TargetITL, duration(0))
	take(s, "pass_priority", &p.PassPriority, flag())
	take(s, "prefix_affinity", &p.PrefixAffinity, flag())
	s.in("cost", func(s *section) {
		const most = 1000
		take(s, "input", &p.Cost.Input, number(0, most))
		take(s, "cached", &p.Cost.Cached, number(0, most))
		take(s, "output", &p.Cost.Output, number(0, most))
		if p.Cost.Input == 0 && p.Cost.Output == 0 {
			s.fault(s.path, "input and output are both 0: then nothing costs anything, and there is nothing to share")
		}
	})
	s.in("timeouts", func(s *section) {
		take(s, "connect", &p.Timeouts.Connect, positive())
		take(s, "first_byte", &p.Timeouts.FirstByte, duration(0))
		take(s, "total", &p.Timeouts.Total, duration(0))
		take(s, "idle", &p.Timeouts.Idle, duration(0))
	})
	for alias, model := range p.Aliases {
		if len(p.Models) > 0 && !slices.Contains(p.Models, model) {
			s.fault(join(s.path+".aliases", alias), "the pool has no model %q; its models are %s", model, strings.Join(p.Models, ", "))
		}
	}
}

// backends reads the list, of which a reload takes everything.
func (p *Pool) backends(s *section, places map[string]string) {
	items, given := s.items("backends")
	if !given {
		if value, ok := s.env(backendVariable); ok && value != "" {
			p.addDefault(s, value, places)
		}
		return
	}
	p.Backends = make([]Backend, 0, len(items))
	for _, item := range items {
		item.hot = true
		p.Backends = append(p.Backends, Backend{})
		b := &p.Backends[len(p.Backends)-1]
		take(item, "url", &b.URL, backendURL())
		take(item, "api_key", &b.APIKey, secret())
		take(item, "slots", &b.Slots, whole(0, 1<<20))
		take(item, "kv_tokens", &b.KVTokens, whole(0, math.MaxInt32))
		item.done()
		switch {
		case b.URL != "":
			b.place(s.reader, item.path+".url", places)
		case s.faulty(item.path + ".url"): // said already
		case len(items) > 1:
			s.fault(item.path+".url", "is empty: only the one backend of a pool may be left out, and then the emulated one is used")
		default:
			p.Backends = nil
		}
	}
}

// addDefault is the backend that the environment names.
func (p *Pool) addDefault(s *section, value string, places map[string]string) {
	s.hide(value)
	at := s.path + ".backends[0].url"
	address, err := backendURL().parse(value)
	if err != nil {
		s.fault(at, "${%s} is no URL like http://127.0.0.1:8000", backendVariable)
		return
	}
	p.Backends = []Backend{{URL: address}}
	b := &p.Backends[0]
	s.settings = append(s.settings, setting{
		path: at, hot: true, text: func() string { return b.URL }, exact: func() string { return b.URL },
	})
	b.place(s.reader, at, places)
}

// place sees to it that no URL is in two places, for its slots would be given
// twice.
func (b *Backend) place(r *reader, path string, places map[string]string) {
	if first, twice := places[b.URL]; twice {
		r.fault(path, "the same URL is already in %s: its slots would be given away twice", first)
		return
	}
	places[b.URL] = path
}

// backendURL is a base URL in its shortest form, so that the same server has one.
func backendURL() kind[string] {
	k := kind[string]{want: "a URL like http://127.0.0.1:8000 or dns+http://vllm:8000, without a password (that is api_key)", isText: true, private: hasUser}
	k.parse = func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		u := parseURL(s, "http", "https", "dns+http", "dns+https")
		if u == nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return "", errNot
		}
		u.Scheme, u.Host = strings.ToLower(u.Scheme), host(u)
		u.Path = strings.TrimRight(strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1"), "/")
		u.RawPath = ""
		return u.String(), nil
	}
	return k
}

// host is the host of u without a port that goes without saying.
func host(u *url.URL) string {
	name, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" || port == "80" && strings.HasSuffix(u.Scheme, "http") || port == "443" && strings.HasSuffix(u.Scheme, "https") {
		if strings.Contains(name, ":") {
			return "[" + name + "]"
		}
		return name
	}
	return net.JoinHostPort(name, port)
}

// sharedNames tells of names, of models and aliases, that two pools claim: the
// first one has them.
func (c *Config) sharedNames(s *section) {
	owner := map[string]int{}
	claim := func(pool int, path, name string) {
		if first, taken := owner[name]; taken && first != pool {
			s.warn(path, "the pool "+c.Pools[first].Name+" has the name "+name+", too, and gets all requests for it")
		} else {
			owner[name] = pool
		}
	}
	for i := range c.Pools {
		path := "pools[" + strconv.Itoa(i) + "]"
		for j, model := range c.Pools[i].Models {
			claim(i, path+".models["+strconv.Itoa(j)+"]", model)
		}
		for _, alias := range slices.Sorted(maps.Keys(c.Pools[i].Aliases)) {
			claim(i, join(path+".aliases", alias), alias)
		}
	}
}

// plainName is one that fits into subjects and file names.
func plainName() kind[string] {
	return checked("a name of 1 to 32 of a-z, 0-9, _ and -, the first a letter or digit", func(s string) bool {
		return s != "" && len(s) <= 32 && !strings.ContainsAny(s[:1], "_-") && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
	})
}

// shares reads the levels of the tree.
func (c *Config) shares(s *section) {
	s.hot = true
	defer func() { s.hot = false }()
	c.Share = []string{"class", "user"}
	known := []string{"class user", "user", "class group user"}
	takeList(s, "share", &c.Share, word("class", "group", "user"))
	if !slices.Contains(known, strings.Join(c.Share, " ")) {
		s.fault("share", "found [%s], expected [class, user] | [user] | [class, group, user]", strings.Join(c.Share, ", "))
	}
}
