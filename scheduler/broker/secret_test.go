package broker

import (
	"bytes"
	"testing"
)

// TestSecretIsOneForAll who ask the same store, and by name another.
func TestSecretIsOneForAll(t *testing.T) {
	outside := startServer(t)
	for name, cfg := range map[string]Config{"embedded": {Store: StoreMemory}, "outside": {URL: outside.url()}} {
		t.Run(name, func(t *testing.T) {
			b := openBroker(t, cfg)
			secret := func(b *Broker, name string) []byte {
				t.Helper()
				s, err := b.Secret(t.Context(), name)
				if err != nil || len(s) != secretBytes {
					t.Fatalf("%d bytes, %v", len(s), err)
				}
				return s
			}
			first := secret(b, "salt")
			if !bytes.Equal(first, secret(b, "salt")) {
				t.Error("it is another one the second time")
			}
			if bytes.Equal(first, secret(b, "other")) {
				t.Error("two names have one")
			}
			if cfg.URL != "" && !bytes.Equal(first, secret(openBroker(t, cfg), "salt")) {
				t.Error("another process has another one")
			}
		})
	}
}
