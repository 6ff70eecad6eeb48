// Package mutants tests tests: it makes mistakes in a package, one after the other, and
// expects that a test which is named for it notices.
//
// All mistakes are in one binary, built once: a function with a mistake stands beside
// the right one, and an environment variable says which is called.
package mutants
