package openai

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRewriteNamesTheModelThatTheBackendAsksFor(t *testing.T) {
	for in, want := range map[string]string{
		`{"max_tokens":8,"messages":[]}`:              `{"max_tokens":8,"messages":[],"model":"m"}`,
		`{"model":null,"max_tokens":8,"messages":[]}`: `{"model":"m","max_tokens":8,"messages":[]}`,
		`{"model":"","max_tokens":8,"messages":[]}`:   `{"model":"m","max_tokens":8,"messages":[]}`,
	} {
		for _, e := range []Endpoint{Messages, CountTokens} {
			r, err := Scan(e, jsonType, []byte(in))
			if err != nil {
				t.Fatal(err)
			}
			if !e.RequiresModel() || r.Model != "" {
				t.Errorf("%s: %s names the model %q", e, in, r.Model)
			}
			if got, _ := r.Rewrite(Edit{Model: "m"}); string(got) != want {
				t.Errorf("%s: %s became %s", e, in, got)
			}
		}
	}
	if Chat.RequiresModel() || Tokenize.RequiresModel() {
		t.Error("these are answered without")
	}
}

func TestRewrite(t *testing.T) {
	fields := SchedulingFields()
	tests := []struct {
		name string
		in   string
		edit Edit
		want string // empty: the body as it is
	}{
		{"nothing to do", ` {"model":"m","messages":[] } `, Edit{Model: "m", Strip: fields}, ""},
		{"an alias", `{ "model" : "a" , "messages":[]}`, Edit{Model: "org/m"}, `{"model" : "org/m","messages":[]}`},
		{"an alias that needs quotes", `{"model":"a","messages":[]}`, Edit{Model: `"`}, `{"model":"\"","messages":[]}`},
		{"the first field goes", `{"priority":1,"messages":[]}`, Edit{Strip: fields}, `{"messages":[]}`},
		{"the last goes", `{"messages":[],"vllm_xargs":{"a":[1]}}`, Edit{Strip: fields}, `{"messages":[]}`},
		{"some go, one of them in disguise", `{"cache_salt":"x","messages":[],"pri\u006frity":1,"a":2,"kv_transfer_params":{}}`, Edit{Strip: fields}, `{"messages":[],"a":2}`},
		{"only the top level", `{"messages":[{"priority":1}]}`, Edit{Strip: fields}, ""},
		{"usage is asked for", `{"stream":true,"messages":[] }  `, Edit{AddUsage: true}, `{"stream":true,"messages":[] ,"stream_options":{"include_usage":true}}`},
		{"usage, with options", `{"stream_options":{"include_usage":false,"x":1},"messages":[]}`, Edit{AddUsage: true}, `{"stream_options":{"include_usage":true,"x":1},"messages":[]}`},
		{"usage, and not with every chunk", `{"stream_options":{"continuous_usage_stats":true},"messages":[]}`, Edit{AddUsage: true}, `{"stream_options":{"include_usage":true},"messages":[]}`},
		{"usage, with empty options", `{"stream_options":{ },"messages":[]}`, Edit{AddUsage: true}, `{"stream_options":{"include_usage":true},"messages":[]}`},
		{"usage, with null", `{"stream_options":null,"messages":[]}`, Edit{AddUsage: true}, `{"stream_options":{"include_usage":true},"messages":[]}`},
		{"a salt", `{"cache_salt":"mine","messages":[]}`, Edit{Strip: fields, CacheSalt: "s"}, `{"messages":[],"cache_salt":"s"}`},
		{
			"all at once", `{"priority":1,"model":"a","stream":true,"messages":[]}`,
			Edit{Model: "m", Strip: fields, AddUsage: true, CacheSalt: "s"},
			`{"model":"m","stream":true,"messages":[],"stream_options":{"include_usage":true},"cache_salt":"s"}`,
		},
		{"a model where none was named", `{"messages":[]}`, Edit{Model: "m"}, `{"messages":[],"model":"m"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, room := range []int{0, 200} {
				body := append(make([]byte, 0, len(tt.in)+room), tt.in...)
				r, err := Scan(Chat, jsonType, body)
				if err != nil {
					t.Fatal(err)
				}
				got, err := r.Rewrite(tt.edit)
				if err != nil {
					t.Fatal(err)
				}
				want := tt.want
				if want == "" {
					want = tt.in
					if &got[0] != &body[0] {
						t.Error("the body was copied")
					}
				}
				if string(got) != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
		})
	}
}

func TestRewriteAddsWithoutACopyWhereThereIsRoom(t *testing.T) {
	body := append(make([]byte, 0, 200), `{"stream":true,"messages":[]}`...)
	r, err := Scan(Chat, jsonType, body)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := r.Rewrite(Edit{AddUsage: true}); &got[0] != &body[0] {
		t.Error("the body was copied")
	}
}

func TestRewriteOfAnEmptyObject(t *testing.T) {
	for _, tt := range [][2]string{{` { } `, `{ "model":"m"}`}, {`{"priority":1}`, `{"model":"m"}`}} {
		in, want := tt[0], tt[1]
		r, err := Scan(Embeddings, jsonType, []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := r.Rewrite(Edit{Model: "m", Strip: []string{"priority"}}); strings.TrimSpace(string(got)) != want {
			t.Errorf("%s became %s", in, got)
		}
	}
}

// FuzzScan: what is let in is JSON that others read the same way, and what is
// rewritten is the same but for the edits.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"priority":3}`,
		` {"stream_options":{"a":[1,{"b":null}],"include_usage":false},"input":["x",[1,2]],"n":2} `,
		`{"messages":[[{"role":"system","content":[{"type":"text","text":"\ud83d\ude00"}]}]],"tools":[{}]}`,
		`{"prompt":[[1,2],[3]],"cache_salt":"x","mod\u0065l":"a"}`, `{}`, `{"a":1}{`, "\uFEFF{}",
	} {
		f.Add(s)
	}
	edit := Edit{Model: "org/m", Strip: SchedulingFields(), AddUsage: true, CacheSalt: "salt"}
	f.Fuzz(func(t *testing.T, in string) {
		for _, e := range []Endpoint{Chat, ChatBatch, Completions, Responses, Messages, Embeddings} {
			r, err := Scan(e, jsonType, []byte(in))
			if err != nil {
				continue
			}
			if r.Sequences < 1 || r.InputChars < 0 || r.InputBytes < 0 || r.MaxTokens < 0 || r.InputChars > len(in) {
				t.Fatalf("%s: %+v", e, r)
			}
			want := decode(t, []byte(strings.TrimPrefix(in, "\uFEFF")))
			expect(want, edit)
			out, err := r.Rewrite(edit)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, decode(t, out)); diff != "" {
				t.Fatalf("%s\n%s\nbecame\n%s\n%s", e, in, out, diff)
			}
		}
	})
}

func decode(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return m
}

// expect makes the edits in a simple way.
func expect(m map[string]any, e Edit) {
	for _, name := range e.Strip {
		delete(m, name)
	}
	m["model"], m["cache_salt"] = e.Model, e.CacheSalt
	options, ok := m["stream_options"].(map[string]any)
	if !ok {
		options = map[string]any{}
	}
	options["include_usage"] = true
	delete(options, "continuous_usage_stats")
	m["stream_options"] = options
}

func audioForm(t *testing.T, fields ...string) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		create := w.CreateFormField
		if fields[i] == "file" {
			create = func(name string) (io.Writer, error) { return w.CreateFormFile(name, "a.mp3") }
		}
		to, err := create(fields[i])
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(to, fields[i+1])
	}
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func TestAudioForms(t *testing.T) {
	sound := strings.Repeat("\x00\xff\r\n", 800)
	contentType, body := audioForm(t, "model", "whisper", "file", sound, "stream", "true", "prompt", "abc", "timestamp_granularities[]", "word", "timestamp_granularities[]", "segment", "priority", "3")
	r, err := Scan(Transcriptions, contentType, body)
	if err != nil {
		t.Fatal(err)
	}
	if r.Model != "whisper" || !r.Stream || r.InputBytes != 3 || r.InputTokens != len(sound)/bytesPerAudioToken || r.Sequences != 1 {
		t.Errorf("%+v", r)
	}
	if same, _ := r.Rewrite(Edit{Model: "whisper"}); !bytes.Equal(same, body) || &same[0] != &body[0] {
		t.Error("nothing was to be done, and it was copied")
	}
	out, err := r.Rewrite(Edit{Model: "org/whisper", Strip: SchedulingFields()})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Scan(Transcriptions, contentType, out)
	if err != nil {
		t.Fatal(err)
	}
	if again.Model != "org/whisper" || slices.Contains(again.form.names, "priority") || len(again.form.names) != len(r.form.names)-1 || !bytes.Contains(out, []byte(sound)) {
		t.Errorf("%+v", again)
	}
}

func TestAudioFormsThatAreWrong(t *testing.T) {
	tests := map[string][]string{
		"twice":    {"file", "x", "model", "a", "model", "b"},
		"too long": {"file", "x", "prompt", strings.Repeat("x", maxFormField+1)},
		"missing":  {"model", "a"},
	}
	for says, fields := range tests {
		contentType, body := audioForm(t, fields...)
		if _, err := Scan(Translations, contentType, body); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func FuzzScanForm(f *testing.F) {
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc\r\n--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--x--\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		const contentType = "multipart/form-data; boundary=x"
		r, err := Scan(Transcriptions, contentType, body)
		if err != nil {
			return
		}
		out, err := r.Rewrite(Edit{Model: "other", Strip: []string{"priority"}})
		if err != nil {
			return // a header that cannot be written again
		}
		if slices.Contains(r.form.names, "priority") || !slices.Contains(r.form.names, "file") {
			return
		}
		if _, err := Scan(Transcriptions, contentType, out); err != nil {
			t.Fatalf("%q became %q: %v", body, out, err)
		}
	})
}

func TestPrefixHash(t *testing.T) {
	scan := func(body string) uint64 {
		r, err := Scan(Chat, jsonType, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return r.PrefixHash
	}
	base := scan(`{"tools":[{"a":1}],"messages":[{"role":"system","content":"You are kind."},{"role":"user","content":"hi"}]}`)
	if base == 0 {
		t.Fatal("no hash")
	}
	for _, same := range []string{
		`{"tools":[{"a":1}],"messages":[{"content":"You are kind.","role":"system"},{"role":"user","content":"another"}],"n":2}`,
	} {
		if scan(same) != base {
			t.Errorf("another hash: %s", same)
		}
	}
	for _, other := range []string{
		`{"tools":[{"a":2}],"messages":[{"role":"system","content":"You are kind."}]}`,
		`{"tools":[{"a":1}],"messages":[{"role":"system","content":"You are."}]}`,
		`{"messages":[{"role":"system","content":"You are kind."}]}`,
	} {
		if scan(other) == base {
			t.Errorf("the same hash: %s", other)
		}
	}
	if scan(`{"messages":[{"role":"user","content":"hi"}],"tools":null}`) != 0 {
		t.Error("a hash of nothing")
	}
	// every process and release has to find the same
	if base != goldenHash {
		t.Errorf("the hash has changed to %#x", base)
	}
}

const goldenHash = 0xa4ba7f13ad10cf62

// TestHeadHash is the same all through a conversation, and another one in another.
func TestHeadHash(t *testing.T) {
	scan := func(e Endpoint, body string) uint64 {
		r, err := Scan(e, jsonType, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return r.HeadHash
	}
	const system, hi = `{"role":"system","content":"Be kind."},`, `{"role":"user","content":"hi"}`
	base := scan(Chat, `{"messages":[`+system+hi+`]}`)
	later := scan(Chat, `{"messages":[`+system+hi+`,{"role":"assistant","content":"hello"},{"role":"user","content":"more"}]}`)
	if base == 0 || later != base {
		t.Errorf("%#x becomes %#x", base, later)
	}
	for _, body := range []string{
		`{"messages":[` + hi + `]}`,
		`{"messages":[` + system + `{"role":"user","content":"ho"}]}`,
		`{"messages":[` + system + hi + `],"tools":[{"a":1}]}`,
	} {
		if got := scan(Chat, body); got == base || got == 0 {
			t.Errorf("%s: %#x", body, got)
		}
	}
	if scan(Chat, `{"messages":[`+system[:len(system)-1]+`]}`) != 0 || scan(ChatBatch, `{"messages":[[`+hi+`]]}`) != 0 || scan(Completions, `{"prompt":"x"}`) != 0 {
		t.Error("the head of no conversation")
	}
}

func TestTaskPrompt(t *testing.T) {
	tests := map[string]string{
		`"### Task:\nDo \"it\"."`: "### Task:\nDo \"it\".",
		`"\n ### Task: x"`:        "\n ### Task: x",
		`"Task"`:                  "",
		`"###"`:                   "",
		`""`:                      "",
		`[]`:                      "",
	}
	for raw, want := range tests {
		if got := taskPrompt([]byte(raw)); got != want {
			t.Errorf("%s: %q", raw, got)
		}
	}
	for _, filler := range []string{"ä", `\n`, `\u4e2d`, `\ud83d\ude00`, "x"} {
		got := taskPrompt([]byte(`"### Task: ` + strings.Repeat(filler, 100) + `"`))
		if len(got) < 100 && filler != `\ud83d\ude00` && filler != `\u4e2d` || len(got) > 2*taskBytes || !strings.HasPrefix(got, taskMark) {
			t.Errorf("%s: %d bytes %q", filler, len(got), got)
		}
	}
}

// A chat as Open WebUI sends it: 21 KB of tools beside a few words.
func openWebUIChat() []byte {
	tool := `{"type":"function","function":{"name":"search_notes","description":"` + strings.Repeat("Searches what was noted. ", 20) + `","parameters":{"type":"object","properties":{"query":{"type":"string","description":"What to look for"},"limit":{"type":"integer"}},"required":["query"]}}},`
	return []byte(`{"model":"qwen2.5-7b","stream":true,"messages":[{"role":"system","content":"You are kind."},{"role":"user","content":"Hello there, how are you?"}],"tools":[` + strings.TrimSuffix(strings.Repeat(tool, 30), ",") + `]}`)
}

func BenchmarkScan(b *testing.B) {
	for name, body := range map[string][]byte{
		"2KB":       []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("word ", 400) + `"}]}`),
		"openwebui": openWebUIChat(),
		"1MB":       []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("word ", 200_000) + `"}]}`),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Scan(Chat, jsonType, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
