package proxy

import (
	"bytes"
	"testing"
)

// TestCacheSalts: the same person has one salt in all replicas, two have two, and
// without the key nobody can tell either.
func TestCacheSalts(t *testing.T) {
	server := func(key []byte) *Server {
		s, err := New(Config{}, Deps{CacheKey: key})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	key := bytes.Repeat([]byte{7}, 32)
	one, replica, other, random := server(key), server(key), server(bytes.Repeat([]byte{8}, 32)), server(nil)
	salt := one.cacheSalt("user:anna")
	if salt != replica.cacheSalt("user:anna") {
		t.Error("replicas have two")
	}
	for what, same := range map[string]string{"another person": one.cacheSalt("user:bob"), "another key": other.cacheSalt("user:anna"), "no key": random.cacheSalt("user:anna")} {
		if salt == same {
			t.Errorf("%s has the same", what)
		}
	}
	if len(salt) > 128 || bytes.ContainsAny([]byte(salt), "@/\\\x00") {
		t.Errorf("vLLM does not take %q", salt)
	}
}
