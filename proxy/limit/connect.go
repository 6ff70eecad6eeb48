package limit

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Address says where Redis is:
//
//	redis://[user:password@]host[:6379][/db]   a server; rediss:// speaks TLS
//	unix:///run/redis.sock[?db=1]              one on this machine
//	redis://host1:26379?master_name=main       sentinels that know the server
//	redis://host1:7000?cluster=true            a cluster
//
// Of sentinels and clusters several are named by commas; the first one has the
// credentials and the query, and several without a master_name are a cluster.
// Sentinels have credentials of their own: sentinel_username and
// sentinel_password. What a user of Redis' ACL needs stands in deploy/fairlane.yaml,
// and is tested from there.
type Address struct {
	URL string
	CAs *x509.CertPool // of rediss://; nil: the system's
}

// Dial opens a connection, which is tried only when it is used. An error names no
// password.
func (a Address) Dial() (redis.UniversalClient, error) {
	opts, err := a.options()
	if err != nil {
		return nil, fmt.Errorf("redis.url: %w", err)
	}
	logging.Disable() // it would write to the error stream what the caller is told anyway
	return redis.NewUniversalClient(opts), nil
}

// Check says what is wrong with an address.
func (a Address) Check() error {
	_, err := a.options()
	return err
}

// patience is for what no request waits for: whoever does has less.
const patience = time.Second

func (a Address) options() (*redis.UniversalOptions, error) {
	all := strings.Split(a.URL, ",")
	first, err := url.Parse(strings.TrimSpace(all[0]))
	if err != nil {
		return nil, errors.New("it is no URL") // the parser's error would show the password
	}
	opts := &redis.UniversalOptions{ClientName: "fairlane", DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true}
	cluster, err := ours(opts, first)
	if err != nil {
		return nil, err
	}
	one, err := redis.ParseURL(first.String())
	if err != nil {
		return nil, fmt.Errorf("it is not understood: %s", strings.ReplaceAll(err.Error(), first.String(), "…"))
	}
	a.theirs(opts, one)
	for _, more := range all[1:] {
		u, err := url.Parse(strings.TrimSpace(more))
		if err != nil || u.Hostname() == "" || u.Scheme != first.Scheme {
			return nil, fmt.Errorf("all addresses have one scheme and a host each, as in %s://a:6379,%[1]s://b:6379", first.Scheme)
		}
		opts.Addrs = append(opts.Addrs, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "6379")))
	}
	opts.IsClusterMode = opts.MasterName == "" && (cluster || len(opts.Addrs) > 1)
	switch {
	case opts.IsClusterMode && opts.DB != 0:
		return nil, errors.New("a cluster has no numbered databases")
	case one.Network == "unix" && (opts.IsClusterMode || opts.MasterName != ""):
		return nil, errors.New("a socket is one server's")
	}
	return opts, nil
}

// ours takes from a URL what go-redis does not know in one.
func ours(opts *redis.UniversalOptions, u *url.URL) (cluster bool, err error) {
	query := u.Query()
	get := func(name string) string {
		defer query.Del(name)
		return query.Get(name)
	}
	opts.MasterName, opts.SentinelUsername, opts.SentinelPassword = get("master_name"), get("sentinel_username"), get("sentinel_password")
	switch get("cluster") {
	case "", "false":
	case "true":
		cluster = true
	default:
		err = errors.New("cluster is true or false")
	}
	u.RawQuery = query.Encode()
	return cluster, err
}

// theirs takes what go-redis found in a URL.
func (a Address) theirs(opts *redis.UniversalOptions, one *redis.Options) {
	opts.Addrs, opts.DB = []string{one.Addr}, one.DB
	opts.Username, opts.Password, opts.TLSConfig = one.Username, one.Password, one.TLSConfig
	opts.PoolSize, opts.MinIdleConns = max(one.PoolSize, 64), max(one.MinIdleConns, 2)
	opts.PoolTimeout, opts.DialTimeout = cmp.Or(one.PoolTimeout, patience), cmp.Or(one.DialTimeout, patience)
	opts.ReadTimeout, opts.WriteTimeout = cmp.Or(one.ReadTimeout, patience), cmp.Or(one.WriteTimeout, patience)
	if opts.TLSConfig != nil {
		opts.TLSConfig.RootCAs, opts.TLSConfig.MinVersion = a.CAs, tls.VersionTLS12
	}
}
