package config

import "fmt"

// ParseBackend reads a backend's URL as --vllm gives it, by the rules of the file.
func ParseBackend(text string) (Backend, error) {
	u, err := BackendURL(text)
	if err != nil {
		return Backend{}, fmt.Errorf("--vllm: %w", err)
	}
	return Backend{URL: u}, nil
}

// BackendURL is a backend's URL in its shortest form, as the configuration has it.
func BackendURL(text string) (string, error) {
	k := backendURL()
	u, err := k.parse(text)
	switch {
	case err == nil && u != "":
		return u, nil
	case k.private(text):
		return "", fmt.Errorf("expected %s", k.want)
	default:
		return "", fmt.Errorf("%q is not %s", text, k.want)
	}
}
