package config

import "strings"

// nearest is the word that was probably meant; empty: none is near.
func nearest(word string, known []string) string {
	word = plain(word)
	best, least := "", len(word)/3+1
	for _, k := range known {
		if len(k) > 3 && strings.HasPrefix(word, plain(k)) {
			return k
		}
		if d := distance(word, plain(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// plain is a key as somebody might spell it who knows it from hearing.
func plain(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(s), "_", ""), "-", "")
}

// distance is the number of letters to insert, delete, replace or swap with their
// neighbour (optimal string alignment). Long words are far from everything.
func distance(a, b string) int {
	const long = 40
	if len(a) > long || len(b) > long {
		return long
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
