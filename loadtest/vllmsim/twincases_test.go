package vllmsim

import "strings"

const (
	chatPath       = "/v1/chat/completions"
	batchPath      = "/v1/chat/completions/batch"
	completionPath = "/v1/completions"
	hello          = `"messages":[{"role":"user","content":"hi"}]`
	// A model of random weights says noise, and nothing for much of its noise. With
	// this bias it says one letter.
	letters  = `,"logit_bias":{"67":100},"ignore_eos":true`
	oneTool  = `,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]`
	nilTools = `,"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object",` +
		`"properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}}}]`
)

// posts makes a twin of each body.
func posts(path string, bodies ...string) []twin {
	out := make([]twin, 0, len(bodies))
	for _, b := range bodies {
		out = append(out, twin{request: request{path: path, body: b}})
	}
	return out
}

// chats makes a twin of what follows the messages in each body.
func chats(path string, rest ...string) []twin {
	bodies := make([]string, 0, len(rest))
	for _, r := range rest {
		bodies = append(bodies, "{"+hello+r+"}")
	}
	return posts(path, bodies...)
}

func loosely(twins []twin) []twin {
	for i := range twins {
		twins[i].loose = true
	}
	return twins
}

func bodyTwins() []twin {
	out := posts(chatPath,
		`{}`, `{`, `[]`, `null`, `"x"`, `5`, `{"a":1} x`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[1 2]`, `tru`, `{"a":"x`,
		"{\"a\":\"x\ny\"}", `{"a":"\q"}`, `{"a":"\u12"}`, `{"a":1`, `   `, `{"a":1 "b":2}`, `{"a" 1}`, `{a:1}`, `{"a":01}`,
		`{"a":"é`, `{"a":-}`, `{"a":1.}`, `[`, `{"a":tru}`, `[1,2`, `{"a":[}`, "\xff", "{\"a\":\"\xff\"}", "\x1f\x8b\x08",
	)
	for _, kind := range []string{"text/plain", "application/vnd.api+json", "json", "application/json; charset=latin1", "APPLICATION/JSON", "x/y/z"} {
		out = append(out, twin{request: request{
			path: chatPath, body: "{" + hello + `,"max_tokens":1}`, header: map[string]string{"Content-Type": kind},
		}})
	}
	for _, kind := range []string{"", "application/json"} {
		out = append(out, twin{request: request{method: "POST", path: chatPath, header: map[string]string{"Content-Type": kind}}})
	}
	return append(out, posts(chatPath, "\xef\xbb\xbf{"+hello+`,"max_tokens":1}`, "{"+hello+`,"max_tokens":2,"max_tokens":1,"nosuch":1}`)...)
}

func chatTwins() []twin {
	out := chats(chatPath,
		`,"stream_options":{"include_usage":true}`, `,"top_logprobs":21,"logprobs":true`, `,"top_logprobs":2`, `,"top_logprobs":-3`,
		`,"top_logprobs":"a"`, `,"temperature":NaN`, `,"temperature":Infinity`, `,"temperature":3`, `,"temperature":-1`, `,"top_p":0`,
		`,"temperature":"x"`, `,"temperature":[]`, `,"top_p":1.5`, `,"top_k":-2`, `,"min_p":2`, `,"presence_penalty":3`,
		`,"frequency_penalty":-3.5`, `,"repetition_penalty":0`, `,"n":0`, `,"n":20000`, `,"n":2,"temperature":0`,
		`,"n":null,"max_tokens":1`, `,"min_tokens":4,"max_tokens":3`, `,"min_tokens":-1,"max_tokens":3`, `,"max_tokens":-1`, `,"max_tokens":0`,
		`,"max_completion_tokens":0,"max_tokens":3`, `,"max_completion_tokens":40000`, `,"max_tokens":99999`, `,"max_tokens":1.5`,
		`,"max_tokens":true`, `,"max_tokens":"1"`, `,"max_tokens":"1.0"`, `,"max_tokens":{}`, `,"max_tokens":1.0`, `,"stop":[""]`, `,"stop":5`,
		`,"stop":["a","b","c","d","e"]`, `,"stop":["a",1]`, `,"stop":null,"max_tokens":1`, `,"tools":[]`, `,"tools":5`, `,"tools":[{}]`,
		`,"tools":[{"function":{}}]`, `,"tools":[5]`, `,"tool_choice":"auto"`, `,"tool_choice":"none","max_tokens":1`,
		`,"tool_choice":null,"max_tokens":1`, oneTool+`,"tool_choice":"bad"`, oneTool+`,"tool_choice":{"type":"function","function":{"name":"g"}}`,
		oneTool+`,"tool_choice":{"type":"function"}`, oneTool+`,"tool_choice":{"type":"function","function":{}}`,
		oneTool+`,"tool_choice":{"type":"function","function":{"name":5}}`, oneTool+`,"tool_choice":5`,
		`,"response_format":{"type":"json_schema"}`, `,"response_format":5`,
		`,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"bad"}}}`,
		`,"response_format":{"type":"json_schema","json_schema":{"name":"x"}}`,
		`,"seed":"x"`, `,"priority":"x"`, `,"logit_bias":{"x":1}`, `,"cache_salt":""`, `,"cache_salt":5`, `,"cache_salt":"a/b"`,
		`,"cache_salt":"abc","max_tokens":1`, `,"stream":"yes","max_tokens":1`+letters, `,"stream":"maybe"`, `,"stream":17`, `,"stream":[]`,
		`,"stream_options":5,"stream":true`, `,"suffix":"a","max_tokens":1`, `,"ignore_eos":"x"`, `,"model":5`, `,"model":"","max_tokens":1`,
		`,"model":"x"`, `,"model":null,"max_tokens":1`, `,"prompt_logprobs":1,"stream":true`, `,"prompt_logprobs":-2`, `,"prompt_logprobs":"x"`,
		`,"add_generation_prompt":true,"continue_final_message":true`,
	)
	out = append(out, chats(chatPath,
		`,"max_tokens":3`+letters, `,"max_tokens":20,"stream":true`+letters,
		`,"max_tokens":20,"stream":true,"stream_options":{"include_usage":true}`+letters,
		`,"max_tokens":20,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`+letters,
		`,"max_tokens":20,"stream":true,"stream_options":{"continuous_usage_stats":true}`+letters,
		`,"max_tokens":20,"stream":true,"stream_options":{}`+letters, `,"max_tokens":20,"stream":true,"stream_options":null`+letters,
		`,"max_tokens":20,"n":2,"stream":true`+letters, `,"max_tokens":2,"n":2,"logprobs":true,"top_logprobs":1`+letters,
		`,"max_tokens":2,"logprobs":true`+letters, `,"max_tokens":20,"logprobs":true,"top_logprobs":2,"stream":true`+letters,
		`,"max_tokens":2,"logprobs":true,"return_tokens_as_token_ids":true`+letters, `,"max_tokens":2,"echo":true`,
		`,"max_tokens":2,"prompt_logprobs":1`, `,"max_tokens":2,"return_token_ids":true,"return_prompt_text":true`+letters,
		`,"max_tokens":20,"return_token_ids":true,"return_prompt_text":true,"stream":true`+letters,
		`,"max_tokens":99,"stop":"a","logit_bias":{"67":100}`, `,"response_format":{"type":"json_object"},"max_tokens":30,"ignore_eos":false`,
		nilTools+`,"tool_choice":"required","max_tokens":3000`, nilTools+`,"tool_choice":"required","max_tokens":3`,
		nilTools+`,"tool_choice":"required","max_tokens":3,"stream":true`,
		nilTools+`,"tool_choice":{"type":"function","function":{"name":"f"}},"max_tokens":3000`,
		nilTools+`,"tool_choice":{"type":"function","function":{"name":"f"}},"max_tokens":3`,
		nilTools+`,"max_tokens":3`+letters, nilTools+`,"tool_choice":"none","max_tokens":3`+letters,
	)...)
	out = append(out, posts(chatPath, `{"messages":[]}`, `{"messages":null}`, `{"messages":{}}`, `{"messages":"x","max_tokens":"q","stream":17}`,
		`{"messages":["x"]}`, `{"messages":[5]}`, `{"messages":[{"role":"user"}],"max_tokens":1}`, `{"messages":[{"role":"x","content":"a"}],"max_tokens":1}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"max_tokens":1}`,
		`{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"so"}],"max_tokens":1,"echo":true,"add_generation_prompt":false,"continue_final_message":true,"stream":true,"logit_bias":{"67":100}}`,
		`{"messages":[{"role":"user","content":"`+strings.Repeat("word ", 40000)+`"}],"max_tokens":1}`,
	)...)
	return append(out, loosely(posts(chatPath, `{"messages":[{}]}`, `{"messages":[{"role":"user","content":5}]}`,
		`{"messages":[{"role":"user","content":null}]}`, `{"messages":[{"role":"user","content":"a"},{"content":"a"}]}`,
		"{"+hello+`,"response_format":{"type":"bad"}}`))...)
}

func completionTwins() []twin {
	return posts(completionPath,
		`{"prompt":"hi"}`, `{"prompt":"hi","max_tokens":2,"logprobs":2`+letters+`}`, `{"prompt":["hi","ho"],"max_tokens":2,"n":2`+letters+`}`,
		`{"prompt":["hi","ho"],"max_tokens":20,"n":2,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`+letters+`}`,
		`{"prompt":"hi","max_tokens":20,"stream":true`+letters+`}`,
		`{"prompt":"hi","max_tokens":20,"stream":true,"stream_options":{"include_usage":true}`+letters+`}`,
		`{"prompt":"hi","max_tokens":20,"stream":true,"logprobs":1,"return_token_ids":true`+letters+`}`,
		`{"prompt":"hi","max_tokens":2,"echo":true`+letters+`}`, `{"prompt":"hi there","max_tokens":2,"echo":true,"logprobs":1`+letters+`}`,
		`{"prompt":"hi","max_tokens":20,"echo":true,"stream":true`+letters+`}`,
		`{"prompt":"hi","max_tokens":20,"echo":true,"stream":true,"logprobs":1`+letters+`}`,
		`{"prompt":"hi","max_tokens":0,"echo":true}`, `{"prompt":"hi there","max_tokens":0,"echo":true,"logprobs":1}`,
		`{"prompt":"hi","max_tokens":0,"echo":true,"stream":true}`, `{"prompt":"hi","max_tokens":0}`,
		`{"prompt":[1,2,3],"max_tokens":1}`, `{"prompt":[[1,2,3],[4]],"max_tokens":1}`, `{"prompt":[],"max_tokens":1}`, `{"prompt":"","max_tokens":1}`,
		`{"prompt":["a",""],"max_tokens":1}`, `{"prompt":[[]],"max_tokens":1}`, `{"max_tokens":1}`, `{"prompt":null,"max_tokens":1}`,
		`{"prompt":5,"max_tokens":1}`, `{"prompt":"a","suffix":"b"}`, `{"prompt":"a","best_of":2,"max_tokens":1}`,
		`{"prompt":"a","n":2,"temperature":0,"max_tokens":1}`, `{"prompt":"a","stream_options":{"include_usage":true}}`, `{"prompt":"a","logprobs":21}`,
		`{"prompt":"a","logprobs":-2}`, `{"prompt":"a","logprobs":0,"max_tokens":1`+letters+`}`, `{"prompt":"a","model":"x"}`,
		`{"prompt":"a","max_tokens":40000}`, `{"prompt":"a","max_tokens":null,"min_tokens":17}`, `{"prompt":"a","max_tokens":3,"prompt_logprobs":1}`,
		`{"prompt":"a","prompt_logprobs":1,"stream":true}`, `{"prompt":"a","max_tokens":1,"return_token_ids":true}`,
		`{"prompt":"a","max_tokens":20,"n":2,"stream":true,"echo":true`+letters+`}`, `{"prompt":"abc","max_tokens":1,"truncate_prompt_tokens":1}`,
		`{"prompt":[`+strings.Repeat("5,", 32767)+`5],"max_tokens":1}`, `{"prompt":[`+strings.Repeat("5,", 40000)+`5],"max_tokens":1}`,
		`{"prompt":"a","stream":5}`, `{"prompt":"a","echo":"x"}`,
	)
}

func otherTwins() []twin {
	two := `{"messages":[[{"role":"user","content":"hi"}],[{"role":"user","content":"ho"}]],"max_tokens":2`
	out := posts(batchPath, two+letters+`}`, two+`,"stream":true}`, two+`,"n":2}`, two+`,"tool_choice":"auto"}`, two+oneTool+`}`, two+`,"model":"x"}`,
		two+`,"use_beam_search":true}`, two+`,"logprobs":true,"top_logprobs":1`+letters+`}`, "{"+hello+`}`, `{"messages":[]}`, `{"messages":[[]]}`, `{}`)
	const responses = "/v1/responses"
	bools := `"tools":[{"type":"function","name":"f","strict":true,"parameters":{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}}]`
	out = append(out, posts(responses, `{"input":"hi","max_output_tokens":3`+letters+`}`, `{"input":"hi","max_output_tokens":20,"stream":true`+letters+`}`,
		`{"input":[{"role":"user","content":"hi"}],"max_output_tokens":1,"instructions":"be"`+letters+`}`,
		`{"input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}],"max_output_tokens":1`+letters+`}`,
		`{}`, `{"input":5}`, `{"input":"hi","model":"x"}`, `{"input":"hi","max_output_tokens":0}`, `{"input":"hi","max_output_tokens":40000}`,
		`{"input":"hi","temperature":3}`, `{"input":"hi","background":true}`, `{"input":"hi","previous_response_id":"resp_x"}`, `{"input":[]}`,
		`{"input":"hi","max_output_tokens":2,"temperature":0,"top_p":0.5,"metadata":{"a":"b"},"user":"u","truncation":"auto","reasoning":{"effort":"low"},`+
			`"service_tier":"flex","store":false,"text":{"format":{"type":"json_object"}}}`,
		`{"input":"hi","max_output_tokens":3000,"tool_choice":"required",`+bools+`}`, `{"input":"hi","max_output_tokens":3,"tool_choice":"required",`+bools+`}`,
	)...)
	const messages = "/v1/messages"
	model := `,"model":"tiny"`
	out = append(out, chats(messages, model+`,"max_tokens":3`, model+`,"max_tokens":3000,"stop_sequences":["a"," "]`, `,"max_tokens":3`, model, `,"max_tokens":3,"model":"x"`,
		model+`,"max_tokens":0`, model+`,"max_tokens":40000`, model+`,"max_tokens":3,"temperature":3`, `,"model":5,"max_tokens":"x"`,
		model+`,"max_tokens":3,"system":"be"`, model+`,"max_tokens":3,"system":[{"type":"text","text":"be"}]`,
		model+`,"max_tokens":3000,"tool_choice":{"type":"any"},"tools":[{"name":"f","strict":true,"input_schema":{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}}]`,
	)...)
	out = append(out, posts(messages, `{`, `{"messages":[],"model":"tiny","max_tokens":3}`, `{"messages":[{"role":"user","content":5}],"model":"tiny","max_tokens":3}`)...)
	out = append(out, chats(messages+"/count_tokens", model, ``, `,"model":"x"`)...)
	out = append(out, posts(messages+"/count_tokens", `{}`)...)
	out = append(out, posts("/tokenize", `{"prompt":"hi"}`, `{"prompt":"hi","return_token_strs":true}`, "{"+hello+"}", `{}`, `{"prompt":"hi","model":"x"}`, `{"prompt":5}`)...)
	return append(out, posts("/detokenize", `{"tokens":[74,75]}`, `{}`, `{"tokens":"a"}`, `{"tokens":[74,75],"model":"x"}`)...)
}

func httpTwins() []twin {
	var out []twin
	for _, rq := range []request{
		{path: "/health"},
		{path: "/ping"},
		{path: "/version"},
		{path: "/load"},
		{path: "/v1/models"},
		{path: "/metrics"},
		{path: "/v1/models/tiny"},
		{path: "/nosuch"},
		{path: "//v1/models"},
		{path: "/v1/models/"},
		{path: "/v1/models/?a=b"},
		{method: "POST", path: "/v1/models"},
		{method: "POST", path: "/ping"},
		{method: "HEAD", path: "/health"},
		{method: "HEAD", path: "/nosuch"},
		{path: chatPath},
		{method: "PUT", path: chatPath},
		{method: "DELETE", path: chatPath},
		{method: "OPTIONS", path: chatPath},
		{method: "PATCH", path: chatPath},
		{method: "QUERY", path: chatPath},
		{path: chatPath + "/", body: "{}"},
		{path: "/v1/embeddings", body: "{}"},
		{path: "/pooling", body: "{}"},
		{path: "/classify", body: "{}"},
		{path: "/score", body: "{}"},
		{path: "/v2/rerank", body: "{}"},
		{path: "/v1/audio/transcriptions", body: "{}"},
		{path: "/v1/responses/nosuch"},
		{method: "POST", path: "/v1/responses/nosuch/cancel"},
		{method: "POST", path: "/v1/responses/nosuch"},
		{path: "/v1/responses/nosuch/cancel"},
		{method: "DELETE", path: "/v1/responses/nosuch"},
		{path: "/v1/responses"},
		{method: "OPTIONS", path: chatPath, header: map[string]string{"Origin": "http://x"}},
		{method: "OPTIONS", path: chatPath, header: map[string]string{
			"Origin": "http://x", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a",
		}},
		{path: chatPath + "?a=b", body: "{" + hello + `,"max_tokens":1}`, header: map[string]string{"X-Vllm-Priority": "abc"}},
	} {
		out = append(out, twin{request: rq})
	}
	return out
}

func poolingTwins() []twin {
	out := posts("/v1/embeddings", `{"input":"hi"}`, `{"input":["hi","ho"],"model":"tiny-embed","encoding_format":"base64"}`, `{"input":[1,2,3]}`,
		`{"input":[[1,2,3],[4]]}`, `{"input":[]}`, `{"input":""}`, `{"input":["a",""]}`, `{"input":"a","dimensions":8}`, `{"input":"a","model":"x"}`,
		"{"+hello+"}", `{"input":"a","encoding_format":"bytes"}`, `{"input":"a","encoding_format":"bytes_only"}`, `{"input":"a","user":"u","priority":1,"request_id":"r"}`,
		`{"input":"`+strings.Repeat("word ", 40000)+`"}`)
	out = append(out, loosely(posts("/v1/embeddings", `{}`, `{"input":5}`, `{"input":"a","encoding_format":"bad"}`))...)
	out = append(out, posts("/pooling", `{"input":"hi"}`, `{"input":["hi","ho"],"encoding_format":"base64"}`)...)
	out = append(out, loosely(posts("/pooling", `{}`))...)
	for _, path := range []string{"/score", "/v1/score"} {
		out = append(out, posts(path, `{"text_1":"a","text_2":"b"}`, `{"text_1":"a","text_2":["b","c"]}`, `{"text_1":["a","b"],"text_2":["b","c","d"]}`,
			`{"queries":"a","documents":["b"]}`, `{"text_1":"a","text_2":[]}`, `{"text_1":"a","text_2":"b","model":"x"}`)...)
		out = append(out, loosely(posts(path, `{}`, `{"text_1":"a"}`))...)
	}
	for _, path := range []string{"/rerank", "/v1/rerank", "/v2/rerank"} {
		out = append(out, posts(path, `{"query":"a","documents":["b","c"]}`, `{"query":"a","documents":["b","c"],"top_n":1}`, `{"query":"a","documents":["b","c"],"top_n":0}`,
			`{"query":"a","documents":[]}`, `{"query":"a"}`, `{"query":"a","documents":["b"],"model":"x"}`, `{"query":"a","documents":["b"],"top_n":-1}`)...)
		out = append(out, loosely(posts(path, `{"query":5,"documents":[5]}`))...)
	}
	out = append(out, posts("/tokenize", `{"prompt":"hi"}`)...)
	for _, path := range []string{chatPath, completionPath, "/v1/responses", "/v1/messages", "/classify", "/v1/responses/x"} {
		out = append(out, posts(path, `{}`)...)
	}
	return append(out, twin{request: request{path: "/v1/models"}}, twin{request: request{path: "/health"}}, twin{request: request{path: "/v1/embeddings"}})
}
