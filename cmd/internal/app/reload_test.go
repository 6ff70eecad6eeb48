package app

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlane/cmd/internal/roster"
)

// TestAnEditIsReadOnce names a key file: afterwards nothing is left to be read,
// unless somebody writes while the files are read.
func TestAnEditIsReadOnce(t *testing.T) {
	const issuer = `{jwt: [{name: idp, header: Authorization, secret: "0123456789abcdef0123456789abcdef", issuer: idp}]`
	in := prepare(t, "identity: "+issuer+"}\n")
	in.app.roster = roster.New(roster.Config{})
	in.app.catalog = newCatalog(in.app.fleet, in.app.cfg.Pools)
	keys := filepath.Join(filepath.Dir(in.file), "keys.yaml")
	writeKeys := func(id string) {
		text := "[{id: " + id + `, sha256: "` + "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" + `"}]`
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	news := func(seen map[string]sum) bool { return !maps.Equal(seen, digests(in.app.current().Files)) }
	writeKeys("one")
	in.write("identity: " + issuer + `, api_keys: {file: "` + keys + "\"}}\nclasses: {vip: {weight: \"${WEIGHT}\"}}\n")
	write := func() {}
	in.app.opts.Env = func(name string) (string, bool) { write(); return "4", name == "WEIGHT" }
	if seen := in.app.reread(); news(seen) || len(seen) != 2 {
		t.Errorf("one edit is to be read again; the files are %v\n%s", in.app.current().Files, in.log)
	}
	write = func() { writeKeys("two") }
	if seen := in.app.reread(); !news(seen) {
		t.Error("what was written while the files were read is not noticed")
	}
	write = func() {}
	if seen := in.app.reread(); news(seen) {
		t.Error("nothing was written, and it is to be read again")
	}
	want := []any{"classes.vip.weight, identity.api_keys.file", "identity.api_keys.file", ""}
	var changed []any
	for _, line := range in.lines("the configuration was reloaded") {
		changed = append(changed, line["changed"])
	}
	if diff := cmp.Diff(want, changed); diff != "" {
		t.Error(diff)
	}
}

// TestAnEditIsReadBesideALog that is written all the time.
func TestAnEditIsReadBesideALog(t *testing.T) {
	in := install(t, "")
	log, err := os.Create(filepath.Join(filepath.Dir(in.file), "fairlane.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	in.write("classes: {vip: {weight: 9}}\n")
	in.until("the edit is read", func() bool {
		if _, err := log.WriteString("a line\n"); err != nil {
			t.Fatal(err)
		}
		return len(in.lines("the configuration was reloaded")) == 1
	})
}
