package config

import "fmt"

// ParseBackend reads a backend's URL as --vllm gives it, by the rules of the file.
func ParseBackend(text string) (Backend, error) {
	k := backendURL()
	u, err := k.parse(text)
	switch {
	case err == nil && u != "":
		return Backend{URL: u}, nil
	case k.private(text):
		return Backend{}, fmt.Errorf("--vllm: expected %s", k.want)
	default:
		return Backend{}, fmt.Errorf("--vllm: %q is not %s", text, k.want)
	}
}
