//go:build !race

package identity

const million = 1_000_000
