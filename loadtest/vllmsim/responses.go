package vllmsim

type responseStore struct{}

func newResponseStore() *responseStore { return &responseStore{} }
