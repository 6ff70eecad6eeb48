package openai_test

import (
	"fmt"

	"fairlane/proxy/openai"
)

func ExampleScan() {
	body := []byte(`{"model":"fast","priority":-9,"messages":[{"role":"user","content":"hi"}],"stream":true,"n":2}`)
	r, err := openai.Scan(openai.Chat, "application/json", body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Model, r.Stream, r.Sequences, r.InputChars)
	out, err := r.Rewrite(openai.Edit{Model: "org/fast-7b", Strip: openai.SchedulingFields(), AddUsage: r.AddsUsage()})
	fmt.Println(string(out), err)
	// Output:
	// fast true 2 2
	// {"model":"org/fast-7b","messages":[{"role":"user","content":"hi"}],"stream":true,"n":2,"stream_options":{"include_usage":true}} <nil>
}

func ExampleSplitter() {
	var s openai.Splitter
	for _, piece := range []string{"data: 1\n\nda", "ta: 2\n", "\n"} {
		s.Add([]byte(piece))
		for event, ok := s.Next(); ok; event, ok = s.Next() {
			fmt.Printf("%q\n", event)
		}
	}
	// Output:
	// "data: 1\n\n"
	// "data: 2\n\n"
}

func ExampleStreamFilter() {
	f := openai.NewStreamFilter(openai.FilterOptions{Endpoint: openai.Chat, DropUsage: true})
	out := f.Feed([]byte(`data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}`+"\n\n"+
		`data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}`+"\n\ndata: [DONE]\n\n"), nil)
	fmt.Print(string(f.Flush(out)))
	fmt.Println(f.Usage())
	// Output:
	// data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}
	//
	// data: [DONE]
	//
	// {5 0 1 false} true
}
